"""What a fill costs: spread, slippage, impact and fee. It knows no order and keeps no account."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from research.errors import InvalidInput
from research.execution.books import Record
from research.execution.rounding import on_tick, price_to_tick
from research.kernel import kernel
from research.market.instruments import Terms

BPS_PER_UNIT = 1e4  # dividing rounds once: 3 / 1e4 is 0.0003, 3 * 1e-4 is not


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of trading, each kept apart, and how much of a bar's volume may be traded.

    The parts of the slippage add up, so that a fixed part and one that grows with the order can stand together.

    Parameters
    ----------
    taker_fee_bps, maker_fee_bps : float, optional
        Fee on the notional at the fill price. None takes the fee schedule's, else the instrument's own dated fee. A
        maker fee below zero is a rebate.
    half_spread_bps : float
        Distance from the price met to the touch on the order's side.
    slippage_bps : float
        What a market order pays beyond the touch, whatever its size.
    slippage_unit_frac : float
        The same as a share of the account's ``unit`` column (with an ATR: a share of the ATR).
    participation_frac : float
        Slippage, as a fraction of the price, of an order as large as the bar's volume; linear in its share of it.
    impact_unit_frac : float
        Slippage, in units, of an order as large as the bar's volume; with the square root of its share of it.
    volume_cap_frac : float, optional
        Largest share of a bar's volume that the account may trade in it. None for no cap.
    carry : bool
        Whether what is left of a market order goes on at the next open; otherwise it is cancelled.
    touch_fills : bool
        Whether a resting limit order is filled where the price touches it. By default the price must trade through it.
    fee_schedule : sequence of (from_ns, taker_fee_bps, maker_fee_bps)
        The account's own fee tier by date, times increasing; before the first the instrument's fees hold.

    Raises
    ------
    InvalidInput
        If a value is not finite, negative (maker fee excepted) or beyond its range.

    References
    ----------
    .. [1] R. Almgren, C. Thum, E. Hauptmann, H. Li, "Direct Estimation of Equity Market Impact", Risk 18(7), 2005:
       impact grows with a power of the order's share of the volume, near 0.5 to 0.6.

    Examples
    --------
    >>> Costs(half_spread_bps=1.0, slippage_bps=2.0).adverse_frac
    0.0003
    """

    taker_fee_bps: float | None = None
    maker_fee_bps: float | None = None
    half_spread_bps: float = 0.0
    slippage_bps: float = 0.0
    slippage_unit_frac: float = 0.0
    participation_frac: float = 0.0
    impact_unit_frac: float = 0.0
    volume_cap_frac: float | None = None
    carry: bool = True
    touch_fills: bool = False
    fee_schedule: Sequence[tuple[int, float, float]] = ()

    def __post_init__(self) -> None:
        for name in ("taker_fee_bps", "maker_fee_bps", "half_spread_bps", "slippage_bps"):
            value = getattr(self, name)
            if value is None and name.endswith("fee_bps"):
                continue
            _require_bps(f"costs.{name}", value, may_be_negative=name == "maker_fee_bps")
        for name in ("slippage_unit_frac", "participation_frac", "impact_unit_frac"):
            value = getattr(self, name)
            if not (_is_number(value) and 0.0 <= value <= 100.0):
                raise InvalidInput(f"costs.{name}", "must be a number in [0, 100]", value)
        cap = self.volume_cap_frac
        if cap is not None and not (_is_number(cap) and 0.0 < cap <= 1.0):
            raise InvalidInput("costs.volume_cap_frac", "must lie in (0, 1], or be None for no cap", cap)
        for name in ("carry", "touch_fills"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(f"costs.{name}", "must be True or False", getattr(self, name))
        if self.half_spread_bps + self.slippage_bps >= BPS_PER_UNIT:
            rule = "must leave a positive price when added to half_spread_bps"
            raise InvalidInput("costs.slippage_bps", rule, self.slippage_bps)
        self._check_schedule()

    def _check_schedule(self) -> None:
        before = None
        for i, row in enumerate(self.fee_schedule):
            subject = f"costs.fee_schedule[{i}]"
            if not isinstance(row, (tuple, list)) or len(row) != 3:
                raise InvalidInput(subject, "must be (from_ns, taker_fee_bps, maker_fee_bps)", row)
            if isinstance(row[0], bool) or not isinstance(row[0], int) or (before is not None and row[0] <= before):
                raise InvalidInput(subject, "must begin later than the row before, in whole nanoseconds", row[0])
            before = row[0]
            _require_bps(f"{subject}.taker_fee_bps", row[1], may_be_negative=False)
            _require_bps(f"{subject}.maker_fee_bps", row[2], may_be_negative=True)
        # Lists from a manifest become tuples, so that equal costs are equal.
        object.__setattr__(self, "fee_schedule", tuple((int(a), float(b), float(c)) for a, b, c in self.fee_schedule))

    @property
    def adverse_frac(self) -> float:
        """Fraction of the price that a market order of any size is filled against itself."""
        return (self.half_spread_bps + self.slippage_bps) / BPS_PER_UNIT

    @property
    def reads_unit(self) -> bool:
        """Whether a part of the slippage is counted in units."""
        return self.slippage_unit_frac > 0.0 or self.impact_unit_frac > 0.0

    @property
    def reads_volume(self) -> bool:
        """Whether fills depend on the bar's volume."""
        return self.participation_frac > 0.0 or self.impact_unit_frac > 0.0 or self.volume_cap_frac is not None

    def fees_frac(self, terms: Terms, ts_ns: int) -> tuple[float, float]:
        """Return taker and maker fee as fractions of the notional at a moment."""
        taker, maker = terms.taker_fee_bps, terms.maker_fee_bps
        row = bisect_right([start for start, _, _ in self.fee_schedule], ts_ns) - 1
        if row >= 0:
            _, taker, maker = self.fee_schedule[row]
        if self.taker_fee_bps is not None:
            taker = self.taker_fee_bps
        if self.maker_fee_bps is not None:
            maker = self.maker_fee_bps
        return taker / BPS_PER_UNIT, maker / BPS_PER_UNIT


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)


def _require_bps(subject: str, value: object, *, may_be_negative: bool) -> None:
    low = -BPS_PER_UNIT if may_be_negative else 0.0
    if not _is_number(value):
        raise InvalidInput(subject, "must be a finite number", value)
    if not low <= value < BPS_PER_UNIT:  # type: ignore[operator]  # a number, as asked above
        raise InvalidInput(subject, f"must lie in [{low:g}, 10000)", value)


@kernel
def fill_price(reference: float, side: int, adverse_frac: float, tick: float) -> float:
    """Return the price of a market order: ``reference`` moved against it, then to the tick on the adverse side.

    Parameters
    ----------
    reference : float
        The price that the order meets, quote per base.
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
def sized_slippage(rule: Record, reference: float, unit: float, volume: float, qty: float) -> float:
    """Return the part of the slippage that depends on the unit or on the order's size, a price distance.

    Parameters
    ----------
    rule : record of RULES
    reference : float
        The price met.
    unit, volume : float
        NaN where unknown: what depends on it is then 0.
    qty : float
        Base units to be filled, of either sign.
    """
    extra = 0.0
    if rule["slippage_unit_frac"] > 0.0 and not math.isnan(unit):
        extra += rule["slippage_unit_frac"] * unit
    if volume > 0.0:
        share = abs(qty) / volume
        if rule["participation_frac"] > 0.0:
            extra += reference * rule["participation_frac"] * share
        if rule["impact_unit_frac"] > 0.0 and not math.isnan(unit):
            extra += rule["impact_unit_frac"] * unit * math.sqrt(share)
    return extra


@kernel
def taker_price(rule: Record, reference: float, side: int, unit: float, volume: float, qty: float) -> float:
    """Return the price at which a market order over ``qty`` is filled."""
    extra = sized_slippage(rule, reference, unit, volume, qty)
    return on_tick(
        reference * (1.0 + side * rule["adverse_frac"]) + side * extra, rule["tick"], rule["tick_inverse"], side
    )


@kernel
def fee_quote(qty: float, price: float, fee_frac: float) -> float:
    """Return the fee in quote currency on ``qty`` base units at ``price``; positive is paid.

    Examples
    --------
    >>> round(fee_quote(-2.0, 100.0, 0.00055), 12)
    0.11
    """
    return abs(qty) * price * fee_frac
