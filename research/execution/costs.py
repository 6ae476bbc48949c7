"""What a fill costs: spread, slippage and fee. It knows no order and keeps no account."""

from __future__ import annotations

import math
from dataclasses import dataclass

from research.errors import InvalidInput
from research.execution.rounding import price_to_tick
from research.kernel import kernel
from research.market.instruments import Terms

BPS_PER_UNIT = 1e4  # dividing rounds once: 3 / 1e4 is 0.0003, 3 * 1e-4 is not


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of trading, each kept apart, in basis points of the price or the notional.

    Parameters
    ----------
    taker_fee_bps, maker_fee_bps : float, optional
        Fee on the notional at the fill price. None takes the instrument's own dated fee. A maker fee below zero
        is a rebate.
    half_spread_bps : float
        Distance from the bar's open to the touch on the order's side.
    slippage_bps : float
        What a market order pays beyond the touch.

    Raises
    ------
    InvalidInput
        If a value is not finite, negative (maker fee excepted) or 10,000 bps and more.

    Examples
    --------
    >>> Costs(half_spread_bps=1.0, slippage_bps=2.0).adverse_frac
    0.0003
    """

    taker_fee_bps: float | None = None
    maker_fee_bps: float | None = None
    half_spread_bps: float = 0.0
    slippage_bps: float = 0.0

    def __post_init__(self) -> None:
        for name in ("taker_fee_bps", "maker_fee_bps", "half_spread_bps", "slippage_bps"):
            value = getattr(self, name)
            optional = name.endswith("fee_bps")
            if value is None and optional:
                continue
            low = -BPS_PER_UNIT if name == "maker_fee_bps" else 0.0
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InvalidInput(f"costs.{name}", "must be a finite number", value)
            if not low <= value < BPS_PER_UNIT:
                raise InvalidInput(f"costs.{name}", f"must lie in [{low:g}, 10000)", value)
        if self.half_spread_bps + self.slippage_bps >= BPS_PER_UNIT:
            rule = "must leave a positive price when added to half_spread_bps"
            raise InvalidInput("costs.slippage_bps", rule, self.slippage_bps)

    @property
    def adverse_frac(self) -> float:
        """Fraction of the price that a market order is filled against itself."""
        return (self.half_spread_bps + self.slippage_bps) / BPS_PER_UNIT

    def taker_frac(self, terms: Terms) -> float:
        """Return the taker fee as a fraction of the notional, under the terms in force."""
        return (terms.taker_fee_bps if self.taker_fee_bps is None else self.taker_fee_bps) / BPS_PER_UNIT


@kernel
def fill_price(reference: float, side: int, adverse_frac: float, tick: float) -> float:
    """Return the price of a market order: ``reference`` moved against it, then to the tick on the adverse side.

    Parameters
    ----------
    reference : float
        The open that the order meets, quote per base.
    side : int
        +1 buys, -1 sells.
    adverse_frac : float
        Half spread plus slippage, as a fraction.
    tick : float
        Price increment.

    Examples
    --------
    >>> fill_price(100.0, 1, 0.0005, 0.01), fill_price(102.0, -1, 0.0005, 0.01)
    (100.05, 101.94)
    """
    return price_to_tick(reference * (1.0 + side * adverse_frac), tick, side)


@kernel
def fee_quote(qty: float, price: float, fee_frac: float) -> float:
    """Return the fee in quote currency on ``qty`` base units at ``price``; positive is paid.

    Examples
    --------
    >>> round(fee_quote(-2.0, 100.0, 0.00055), 12)
    0.11
    """
    return abs(qty) * price * fee_frac
