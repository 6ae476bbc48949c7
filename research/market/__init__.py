"""Market data: bars, instruments, lake, quality, resampling, simulated market; the heavier names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from research.market.bars import conform, interval_ns, on_clock
from research.market.instruments import Instrument, MarginTier, Terms, sample_instrument

# Not on first use: importing the module later would put it in the place of the function of the same name.
from research.market.resample import Resampler, resample

if TYPE_CHECKING:
    from research.market.lake import Lake
    from research.market.quality import check_quality
    from research.market.simulated import MarketSpec, simulate_market

__all__ = [
    "Instrument",
    "Lake",
    "MarginTier",
    "MarketSpec",
    "Resampler",
    "Terms",
    "check_quality",
    "conform",
    "interval_ns",
    "on_clock",
    "resample",
    "sample_instrument",
    "simulate_market",
]

_LATER = {"Lake": "lake", "MarketSpec": "simulated", "check_quality": "quality", "simulate_market": "simulated"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use, so that live loads neither the lake nor the simulation."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
