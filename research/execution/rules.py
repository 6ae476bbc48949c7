"""Terms, costs, margin and exits in the kernel's units; it decides nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.errors import InvalidInput
from research.execution.costs import BPS_PER_UNIT, Costs
from research.execution.margin import Margin
from research.execution.records import (
    ACCOUNT_RULES,
    RULES,
    TIERS,
    DistanceUnit,
    TrailMode,
    TriggerBy,
)
from research.execution.rounding import SNAP, inverse_of
from research.market.instruments import Instrument, Terms
from research.risk.exits import Exits


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an account's exposure, as fractions of its equity at the deciding close.

    Parameters
    ----------
    max_gross : float
        Sum of the absolute values of all positions.
    max_net : float
        Absolute value of their signed sum.
    max_leg : float
        Absolute value of one position.

    Raises
    ------
    InvalidInput
        If a bound is not positive.
    """

    max_gross: float = math.inf
    max_net: float = math.inf
    max_leg: float = math.inf

    def __post_init__(self) -> None:
        for name in ("max_gross", "max_net", "max_leg"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0.0:
                raise InvalidInput(f"limits.{name}", "must be positive (inf for none)", value)


def account_rules(
    step_ns: int, margin: Margin, limits: Limits, intrabar: str, open_orders: int, has_spot: bool
) -> NDArray[Any]:
    """Return the (1,) array of ACCOUNT_RULES."""
    found = np.zeros(1, ACCOUNT_RULES)
    found["step_ns"], found["is_cross"], found["can_borrow"] = (
        step_ns, margin.mode == "cross", margin.borrow and has_spot
    )  # fmt: skip
    found["spot_leverage"], found["debt_ratio"] = margin.spot_leverage, margin.debt_ratio
    found["quote_rate_hourly"] = margin.quote_rate_hourly
    found["max_gross"], found["max_net"] = limits.max_gross, limits.max_net
    found["has_limits"] = min(limits.max_gross, limits.max_net, limits.max_leg) < math.inf
    found["open_orders"] = open_orders
    found["prefers_better"] = intrabar == "better"
    return found


def tiers_of(terms: Sequence[Terms]) -> NDArray[Any]:
    """Return the (S * T,) array of TIERS of several legs, T rows each, filled up with rows that are not used."""
    width = max(1, *(len(term.tiers) for term in terms))
    found = np.zeros(len(terms) * width, TIERS)
    for k, term in enumerate(terms):
        for i, tier in enumerate(term.tiers):
            found[k * width + i] = (tier.cap_quote, tier.maintenance_frac, tier.initial_frac, tier.deduction_quote)
    return found


def rules_of(
    instrument: Instrument, terms: Terms, costs: Costs, margin: Margin, exits: Exits | None, limits: Limits,
    now_ns: int, *, latency_bars: int, max_leverage: float, hedge_leg: int = -1,
) -> NDArray[Any]:  # fmt: skip
    """Return the (1,) array of RULES of one leg from a moment on."""
    found = np.zeros(1, RULES)
    is_spot = instrument.market == "spot"
    found["is_spot"], found["latency_bars"], found["hedge_leg"] = is_spot, latency_bars, hedge_leg
    found["max_leverage"] = max_leverage if is_spot else min(max_leverage, terms.max_leverage)
    found["leverage"] = math.nan if margin.leverage is None else min(margin.leverage, terms.max_leverage)
    found["venue_leverage"], found["n_tiers"] = terms.max_leverage, len(terms.tiers)
    found["tick"], found["qty_step"] = terms.tick, terms.qty_step
    found["tick_inverse"], found["step_inverse"] = inverse_of(terms.tick), inverse_of(terms.qty_step)
    found["min_lots"] = max(1, math.ceil(terms.min_qty / terms.qty_step * (1.0 - SNAP)))
    found["max_lots"] = math.inf if math.isinf(terms.max_qty) else math.floor(
        terms.max_qty / terms.qty_step * (1.0 + SNAP)
    )  # fmt: skip
    found["min_notional_quote"] = terms.min_notional_quote
    taker, maker = costs.fees_frac(terms, now_ns)
    found["taker_frac"], found["maker_frac"], found["liquidation_frac"] = taker, maker, taker
    if margin.liquidation_fee_bps is not None:
        found["liquidation_frac"] = margin.liquidation_fee_bps / BPS_PER_UNIT
    found["half_spread_frac"], found["adverse_frac"] = costs.half_spread_bps / BPS_PER_UNIT, costs.adverse_frac
    found["slippage_unit_frac"] = costs.slippage_unit_frac
    found["participation_frac"], found["impact_unit_frac"] = costs.participation_frac, costs.impact_unit_frac
    found["volume_cap_frac"] = math.nan if costs.volume_cap_frac is None else costs.volume_cap_frac
    found["carries"], found["touch_fills"] = costs.carry, costs.touch_fills
    found["base_rate_hourly"] = margin.base_rate_of(instrument.symbol)
    found["collateral_frac"], found["max_leg"] = margin.collateral_frac, limits.max_leg
    if exits is not None:
        _write_exits(found, exits)
    return found


def _write_exits(found: NDArray[Any], exits: Exits) -> None:
    found["has_exits"], found["needs_unit"], found["is_managed"] = 1, exits.reads_unit, exits.is_managed
    found["stop_by"] = TriggerBy[exits.stop_by.upper()]
    if exits.has_stop:
        found["stop_unit"], found["stop_distance"] = DistanceUnit[exits.stop_unit.upper()], exits.stop_distance
    found["n_take_profits"] = len(exits.take_profits)
    found["take_profit_unit"] = DistanceUnit[exits.take_profit_unit.upper()]
    found["take_profit_at_market"] = exits.take_profit_order == "market"
    for i, (distance, share) in enumerate(exits.take_profits):
        found["take_profit_distance"][0, i], found["take_profit_share"][0, i] = distance, share
    found["trail_mode"], found["trail_after"] = TrailMode[exits.trail.upper()], exits.trail_after
    found["trail_distance"] = 0.0 if math.isnan(exits.trail_distance) else exits.trail_distance
    found["trail_activation"] = exits.trail_activation
    found["trail_activation_unit"] = DistanceUnit[exits.trail_activation_unit.upper()]
    if not math.isnan(exits.break_even_distance):
        found["break_even_unit"] = DistanceUnit[exits.break_even_unit.upper()]
        found["break_even_distance"] = exits.break_even_distance
        found["break_even_offset_frac"] = exits.break_even_offset_bps / BPS_PER_UNIT
    found["time_stop_bars"], found["volatility_multiple"] = exits.time_stop_bars, exits.volatility_multiple
