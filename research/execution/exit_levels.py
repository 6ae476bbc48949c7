"""Levels at which an open position is left: set at the entry, moved at closes. It fills nothing.

Kernels over one leg of an account; the rules themselves are :class:`research.risk.exits.Exits`.
"""

from __future__ import annotations

import math

from research.execution.books import Record
from research.execution.records import DistanceUnit, Role, TrailMode
from research.execution.rounding import on_tick, whole_within
from research.kernel import constant, kernel

_FRAC, _UNIT, _RISK = constant(DistanceUnit.FRAC), constant(DistanceUnit.UNIT), constant(DistanceUnit.RISK)
_TRAIL_UNIT, _TRAIL_LEVEL, _TRAIL_SHARE = (
    constant(TrailMode.UNIT),
    constant(TrailMode.LEVEL),
    constant(TrailMode.PROFIT_SHARE),
)
_STOP, _TRAIL, _BREAK_EVEN = constant(Role.STOP), constant(Role.TRAIL), constant(Role.BREAK_EVEN)
_WHOLE = 1.0 - 1e-9  # shares that sum to this take everything


@kernel
def distance(leg: Record, unit: int, figure: float) -> float:
    """Return a distance from the entry in quote currency per base."""
    if unit == _FRAC:
        return figure * leg["entry_price"]
    if unit == _UNIT:
        return figure * leg["entry_unit"]
    return figure * leg["risk"]


@kernel
def clear_exits(leg: Record) -> None:
    """Forget every level of a position that is no more."""
    leg["stop"], leg["tp_count"], leg["tp_next"], leg["tp_left"], leg["tp_taken"] = math.nan, 0, 0, 0, 0
    leg["entry_lots"], leg["has_bracket_stop"], leg["has_bracket_profit"], leg["entered_within"] = 0, 0, 0, 0
    leg["stop_role"], leg["has_broken_even"], leg["has_taken"], leg["risk"] = _STOP, 0, 0, math.nan


@kernel
def lots_of_step(leg: Record, rule: Record) -> int:
    """Return what the ladder's current step has still to take: its share of the largest position, or all."""
    if leg["has_bracket_profit"] != 0:
        return abs(leg["lots"])
    shares = 0.0
    for i in range(leg["tp_next"] + 1):
        shares += rule["take_profit_share"][i]
    if leg["tp_next"] == leg["tp_count"] - 1 and shares >= _WHOLE:
        return abs(leg["lots"])
    whole = whole_within(rule["take_profit_share"][leg["tp_next"]] * leg["entry_lots"])
    return min(max(whole - leg["tp_taken"], 0), abs(leg["lots"]))


@kernel
def settle_step(leg: Record, rule: Record) -> None:
    """Work out the lots of the ladder's current step, passing over steps too small for a lot."""
    while leg["tp_next"] < leg["tp_count"]:
        leg["tp_left"] = lots_of_step(leg, rule)
        if leg["tp_left"] > 0:
            return
        next_step(leg)
    leg["tp_left"] = 0


@kernel
def next_step(leg: Record) -> None:
    """Go on to the ladder's next step."""
    leg["tp_next"] += 1
    leg["tp_taken"] = 0


@kernel
def set_levels(leg: Record, rule: Record) -> None:
    """Set stop and take-profits from the average entry, for a position that was opened or has grown.

    A stop that trailing or break-even has moved stays; a bracket's levels stay.
    """
    side = 1 if leg["lots"] > 0 else -1
    entry, tick, inverse = leg["entry_price"], rule["tick"], rule["tick_inverse"]
    leg["entry_lots"] = max(leg["entry_lots"], abs(leg["lots"]))
    if rule["stop_unit"] != 0 and leg["has_bracket_stop"] == 0:
        leg["risk"] = distance(leg, rule["stop_unit"], rule["stop_distance"])
        if leg["stop_role"] == _STOP:
            leg["stop"] = on_tick(entry - side * leg["risk"], tick, inverse, -side)
    if leg["has_bracket_profit"] == 0:
        leg["tp_count"] = rule["n_take_profits"]
        for i in range(leg["tp_count"]):
            step = distance(leg, rule["take_profit_unit"], rule["take_profit_distance"][i])
            leg["tp_price"][i] = on_tick(entry + side * step, tick, inverse, side)
    if leg["has_taken"] == 0:  # a step too small for a lot of what was held before may have been passed over
        leg["tp_next"], leg["tp_taken"] = 0, 0
    settle_step(leg, rule)


@kernel
def set_bracket(leg: Record, rule: Record, stop_loss: float, take_profit: float) -> None:
    """Replace the levels by those that an order brought with it; NaN leaves what is there."""
    if not math.isnan(stop_loss):
        leg["stop"], leg["stop_role"], leg["has_bracket_stop"] = stop_loss, _STOP, 1
        leg["risk"] = abs(leg["entry_price"] - stop_loss)
        if leg["has_bracket_profit"] == 0 and rule["take_profit_unit"] == _RISK:
            set_levels(leg, rule)  # the ladder is counted in this risk now
    if not math.isnan(take_profit):
        leg["has_bracket_profit"], leg["tp_count"], leg["tp_next"], leg["tp_taken"] = 1, 1, 0, 0
        leg["tp_price"][0] = take_profit
        settle_step(leg, rule)


@kernel
def tighten(leg: Record, rule: Record, level: float, role: int) -> None:
    """Move the stop to a level, on the tick away from the price, if that is nearer to the price than the old one."""
    side = 1 if leg["lots"] > 0 else -1
    snapped = on_tick(level, rule["tick"], rule["tick_inverse"], -side)
    if math.isnan(leg["stop"]) or side * (snapped - leg["stop"]) > 0.0:
        leg["stop"], leg["stop_role"] = snapped, role


@kernel
def move_stop(leg: Record, rule: Record, close: float, trail_low: float, trail_high: float) -> None:
    """Move the stop of an open position at a close, by break-even and trailing; ``leg.best`` is up to date."""
    side = 1 if leg["lots"] > 0 else -1
    entry = leg["entry_price"]
    profit = side * (leg["best"] - entry)
    may_break_even = rule["break_even_unit"] != 0 and leg["has_broken_even"] == 0
    if may_break_even and profit >= distance(leg, rule["break_even_unit"], rule["break_even_distance"]):
        leg["has_broken_even"] = 1
        tighten(leg, rule, entry * (1.0 + side * rule["break_even_offset_frac"]), _BREAK_EVEN)
    mode = rule["trail_mode"]
    if mode == 0 or leg["tp_next"] < rule["trail_after"]:
        return
    needed = rule["trail_activation"]
    if needed > 0.0 and profit < distance(leg, rule["trail_activation_unit"], needed):
        return
    if mode == _TRAIL_UNIT:
        if not math.isnan(leg["unit"]):
            tighten(leg, rule, leg["best"] - side * rule["trail_distance"] * leg["unit"], _TRAIL)
    elif mode == _TRAIL_LEVEL:
        level = trail_low if side > 0 else trail_high
        if side * (close - level) > 0.0:  # false where it is NaN
            tighten(leg, rule, level, _TRAIL)
    elif profit > 0.0:
        tighten(leg, rule, entry + side * (1.0 - rule["trail_distance"]) * profit, _TRAIL)


@kernel
def update_best(leg: Record, high: float, low: float, close: float) -> None:
    """Take a closed bar into the best price since the entry: its extreme, or its close if entered within it."""
    if leg["lots"] > 0:
        leg["best"] = max(leg["best"], close if leg["entered_within"] != 0 else high)
    else:
        leg["best"] = min(leg["best"], close if leg["entered_within"] != 0 else low)
    leg["entered_within"] = 0
