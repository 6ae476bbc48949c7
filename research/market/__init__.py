"""Market data: bars, instruments, lake, quality, resampling, simulated market; the heavier names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from research.market.bars import blocks_on_clock, conform, interval_ns, on_clock
from research.market.instruments import Instrument, MarginTier, Terms, sample_instrument

# Not on first use: importing the module later would put it in the place of the function of the same name.
from research.market.resample import Resampler, resample

if TYPE_CHECKING:
    from research.market.book_bars import BookBars
    from research.market.lake import Lake
    from research.market.liquidation_bars import LiquidationBars
    from research.market.quality import check_quality
    from research.market.simulated import MarketSpec, simulate_market
    from research.market.trade_bars import TradeBars

__all__ = [
    "BookBars",
    "Instrument",
    "Lake",
    "LiquidationBars",
    "MarginTier",
    "MarketSpec",
    "Resampler",
    "Terms",
    "TradeBars",
    "blocks_on_clock",
    "check_quality",
    "conform",
    "interval_ns",
    "on_clock",
    "resample",
    "sample_instrument",
    "simulate_market",
]

_LATER = {
    "BookBars": "book_bars", "Lake": "lake", "LiquidationBars": "liquidation_bars", "MarketSpec": "simulated",
    "TradeBars": "trade_bars", "check_quality": "quality", "simulate_market": "simulated",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use, so that live loads neither the lake nor the simulation."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
