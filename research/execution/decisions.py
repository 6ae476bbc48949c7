"""Targets and commands turned into orders at a close; they meet no price here."""

from __future__ import annotations

import math

from research.execution.books import (
    Books,
    Record,
    end_order,
    open_order,
    row_of,
    target_is_under_way,
)
from research.execution.exit_levels import move_stop, update_best
from research.execution.records import Kind, Reason, Role, Status
from research.execution.rounding import SNAP, exposure_lots, lots_of, side_of, times_unit, whole_within
from research.kernel import constant, inlined_kernel, inner_kernel, kernel

_FILLED, _REJECTED, _REPLACED = constant(Status.FILLED), constant(Status.REJECTED), constant(Status.REPLACED)
_CANCELLED = constant(Status.CANCELLED)
_NONE, _RUINED, _ABOVE_LEVERAGE = constant(Reason.NONE), constant(Reason.RUINED), constant(Reason.ABOVE_LEVERAGE)
_INSUFFICIENT_MARGIN, _EXIT_UNKNOWN = constant(Reason.INSUFFICIENT_MARGIN), constant(Reason.EXIT_UNKNOWN)
_BELOW_MIN_QTY, _ABOVE_MAX_QTY = constant(Reason.BELOW_MIN_QTY), constant(Reason.ABOVE_MAX_QTY)
_BELOW_MIN_NOTIONAL, _EXPOSURE_LIMIT = constant(Reason.BELOW_MIN_NOTIONAL), constant(Reason.EXPOSURE_LIMIT)
_TOO_MANY_ORDERS, _NO_PRICE = constant(Reason.TOO_MANY_ORDERS), constant(Reason.NO_PRICE)
_BY_COMMAND, _UNKNOWN_TAG = constant(Reason.BY_COMMAND), constant(Reason.UNKNOWN_TAG)
_TARGET, _COMMAND, _CANCEL_ROLE = constant(Role.TARGET), constant(Role.COMMAND), constant(Role.CANCEL)
_TIME_STOP, _VOLATILITY = constant(Role.TIME_STOP), constant(Role.VOLATILITY)
_MARKET, _CANCEL = constant(Kind.MARKET), constant(Kind.CANCEL)


@inner_kernel
def planned_lots(b: Books, k: int) -> int:
    """Return the position that a leg will have once its open order to a target is filled."""
    leg = b.legs[k]
    if leg["pending_id"] != 0:
        j = row_of(b, leg["pending_id"])
        if j >= 0:
            return b.book[j]["desired"]
    return leg["lots"]


@inner_kernel
def within_limits(b: Books, k: int, desired: int) -> int:
    """Return ``desired`` cut to what the account's exposure limits leave for the leg, never below what it holds.

    The legs of a pair are held against them together: the hedge adds to gross exposure and takes from net.
    """
    rule, leg, settings = b.rules[k], b.legs[k], b.settings[0]
    hedge = rule["hedge_leg"]
    gross = net = 0.0
    for i in range(b.settings[0]["n_legs"]):
        if i != k and i != hedge and not math.isnan(b.legs[i]["last_close"]):
            value = (
                times_unit(planned_lots(b, i), b.rules[i]["qty_step"], b.rules[i]["step_inverse"])
                * b.legs[i]["last_close"]
            )
            gross, net = gross + abs(value), net + value
    equity, side = b.account[0]["equity"], 1 if desired > 0 else -1
    price = leg["last_close"]
    most = rule["max_leg"] * equity / price  # units of the base asset
    both = slope = price  # gross and net exposure of one unit bought
    if hedge >= 0:
        other = b.legs[hedge]["last_close"]
        most = min(most, b.rules[hedge]["max_leg"] * equity / other)
        both, slope = price + other, price - other
    most = min(most, (settings["max_gross"] * equity - gross) / both)
    if slope != 0.0:
        ahead = net if (slope > 0.0) == (side > 0) else -net  # what is held already on the side that this adds to
        most = min(most, (settings["max_net"] * equity - ahead) / abs(slope))
    most = max(most, 0.0) / rule["qty_step"]
    if abs(desired) <= most:
        return desired
    cut = whole_within(most)
    held = leg["lots"] * side
    return side * max(cut, min(held, abs(desired)), 0)


@inlined_kernel
def refusal(b: Books, k: int, target: float, desired: int) -> int:
    """Return the reason why an order from the held to the ``desired`` lots is refused, 0 where it is accepted.

    On a linear market an order that only shrinks the position goes out reduce-only, which venues exempt from the
    minimum notional and split above the maximum quantity.
    """
    leg, rule = b.legs[k], b.rules[k]
    if b.account[0]["is_ruined"] != 0:
        return _RUINED
    if abs(target) > rule["max_leverage"]:
        return _ABOVE_LEVERAGE
    if b.account[0]["equity"] <= 0.0 and target != 0.0:  # marked so by funding on a gap, where ruin waits for a close
        return _INSUFFICIENT_MARGIN
    before = leg["lots"]
    lots = abs(desired - before)
    grows = abs(desired) > abs(before) or side_of(desired) * side_of(before) < 0
    if grows and rule["needs_unit"] != 0 and math.isnan(leg["unit"]):
        return _EXIT_UNKNOWN
    if lots < rule["min_lots"]:
        return _BELOW_MIN_QTY
    if rule["is_spot"] == 0 and abs(desired) < abs(before) and side_of(desired) * side_of(before) >= 0:
        return _NONE
    if lots > rule["max_lots"]:
        return _ABOVE_MAX_QTY
    if times_unit(lots, rule["qty_step"], rule["step_inverse"]) * leg["last_close"] < rule["min_notional_quote"] * (
        1.0 - SNAP
    ):
        return _BELOW_MIN_NOTIONAL
    return _NONE


@inlined_kernel
def desired_lots(b: Books, k: int, target: float) -> int:
    """Return the position that a target asks for at the leg's last close, before exposure limits."""
    leg, equity = b.legs[k], b.account[0]["equity"]
    if target == 0.0:
        return 0
    if not equity > 0.0:
        return leg["lots"]
    desired = exposure_lots(target, equity, leg["last_close"], b.rules[k]["qty_step"])
    if leg["has_taken"] != 0 and side_of(desired) * side_of(leg["lots"]) > 0 and abs(desired) > abs(leg["lots"]):
        desired = leg["lots"]
    return desired


@inlined_kernel
def send_target(b: Books, k: int, ts: int, target: float, desired: int, note: int) -> int:
    """Open the market order that takes a leg to its desired lots; return its id."""
    leg, rule = b.legs[k], b.rules[k]
    j = open_order(b, k, _TARGET, _MARKET, ts, desired - leg["lots"])
    row = b.book[j]
    row["wait"], row["target"], row["desired"] = rule["latency_bars"] + 1, target, desired
    row["carries"], row["note"] = rule["carries"], note
    leg["pending_id"] = row["order_id"]
    return row["order_id"]


@inner_kernel
def reject_target(b: Books, k: int, ts: int, target: float, desired: int, reason: int) -> None:
    """Record an order to a target that is refused before it is sent."""
    pending = b.legs[k]["pending_id"]
    j = open_order(b, k, _TARGET, _MARKET, ts, desired - b.legs[k]["lots"])
    b.book[j]["target"] = target
    end_order(b, j, ts, _REJECTED, reason)
    b.legs[k]["pending_id"] = pending


@inner_kernel
def replace_pending(b: Books, k: int, ts: int) -> None:
    """End an order to a target that has arrived and waits, for a valid open or for volume."""
    j = row_of(b, b.legs[k]["pending_id"])
    if j >= 0:
        end_order(b, j, ts, _REPLACED, _NONE)
    b.legs[k]["pending_id"] = 0


@inner_kernel
def decide_target(b: Books, k: int, ts: int) -> None:
    """Turn a leg's new target into one order sized at the last close; it replaces one that has arrived and waits.

    Not to be called while an order to a target of the leg is under way.
    """
    leg, rule = b.legs[k], b.rules[k]
    target = leg["wish"]
    leg["standing"] = target
    if leg["pending_id"] != 0:
        replace_pending(b, k, ts)
    if rule["hedge_leg"] >= 0:
        if b.legs[rule["hedge_leg"]]["pending_id"] != 0:
            replace_pending(b, rule["hedge_leg"], ts)
        decide_pair(b, k, ts, target)
        return
    if target * leg["blocked_side"] > 0.0:
        return
    asked = desired_lots(b, k, target)
    desired = within_limits(b, k, asked) if asked != 0 and b.settings[0]["has_limits"] != 0 else asked
    note = _EXPOSURE_LIMIT if desired != asked else _NONE
    lots = desired - leg["lots"]
    if lots == 0 and target == 0.0:
        return
    reason = refusal(b, k, target, desired)
    # The lots held are the lots wanted: nothing to do. A wish too small for a single lot is a refusal, though.
    if lots == 0 and reason == _BELOW_MIN_QTY and desired != 0 and note == _NONE:
        return
    if reason != _NONE:
        if note != _NONE and reason == _BELOW_MIN_QTY and lots == 0:
            reason = note
        reject_target(b, k, ts, target, desired, reason)
        return
    send_target(b, k, ts, target, desired, note)


@kernel
def may_go_alone(leg: Record, desired: int) -> bool:
    """Tell whether a leg of a pair may go to its desired lots although the other may not: it only shrinks."""
    held = leg["lots"]
    return desired * leg["blocked_side"] <= 0 and abs(desired) <= abs(held) and side_of(desired) * side_of(held) >= 0


@inner_kernel
def decide_pair(b: Books, k: int, ts: int, target: float) -> None:
    """Order both legs of a pair, the same quantity on either side, or neither."""
    leg, rule = b.legs[k], b.rules[k]
    h = rule["hedge_leg"]
    hedge, hedge_rule = b.legs[h], b.rules[h]
    if math.isnan(hedge["last_close"]):
        leg["standing"] = math.nan if target != 0.0 else 0.0  # asked again at the next close
        return
    asked = desired_lots(b, k, target)
    desired = within_limits(b, k, asked) if asked != 0 and b.settings[0]["has_limits"] != 0 else asked
    note = _EXPOSURE_LIMIT if desired != asked else _NONE
    qty = times_unit(desired, rule["qty_step"], rule["step_inverse"])
    opposite = -lots_of(qty, hedge_rule["qty_step"])
    desired = lots_of(times_unit(-opposite, hedge_rule["qty_step"], hedge_rule["step_inverse"]), rule["qty_step"])
    lots, hedge_lots = desired - leg["lots"], opposite - hedge["lots"]
    if desired * leg["blocked_side"] > 0 or opposite * hedge["blocked_side"] > 0:
        lots = lots if may_go_alone(leg, desired) else 0
        hedge_lots = hedge_lots if may_go_alone(hedge, opposite) else 0
    if lots == 0 and hedge_lots == 0:
        return
    reason = refusal(b, k, target, desired) if lots != 0 else _NONE
    other = refusal(b, h, -target, opposite) if hedge_lots != 0 else _NONE
    if reason != _NONE or other != _NONE:
        if lots != 0:
            reject_target(b, k, ts, target, desired, reason if reason != _NONE else other)
        if hedge_lots != 0:
            reject_target(b, h, ts, -target, opposite, other if other != _NONE else reason)
        return
    first = second = 0
    if lots != 0:
        first = send_target(b, k, ts, target, desired, note)
    if hedge_lots != 0:
        second = send_target(b, h, ts, -target, opposite, note)
    if first != 0 and second != 0:
        b.book[row_of(b, first)]["pair_id"] = second
        b.book[row_of(b, second)]["pair_id"] = first


@inner_kernel
def take_target(b: Books, k: int, ts: int, target: float) -> None:
    """Take a close's target, NaN for none, and decide on the newest one unless an order is under way."""
    leg = b.legs[k]
    if not math.isnan(target):
        leg["wish"] = target
        if target * leg["blocked_side"] <= 0.0:
            leg["blocked_side"] = 0
        hedge = b.rules[k]["hedge_leg"]
        if hedge >= 0 and -target * b.legs[hedge]["blocked_side"] <= 0.0:
            b.legs[hedge]["blocked_side"] = 0
    if leg["wish"] != leg["standing"] and not math.isnan(leg["last_close"]):
        hedge = b.rules[k]["hedge_leg"]
        if not (target_is_under_way(b, k) or (hedge >= 0 and target_is_under_way(b, hedge))):
            decide_target(b, k, ts)


@inner_kernel
def command_refusal(b: Books, command: Record) -> int:
    """Return the reason why a user's order is refused at its close, 0 where it is sent."""
    leg, rule = b.legs[command["leg"]], b.rules[command["leg"]]
    if b.account[0]["is_ruined"] != 0:
        return _RUINED
    if math.isnan(leg["last_close"]):
        return _NO_PRICE
    if command["reduce_only"] == 0 and rule["needs_unit"] != 0 and math.isnan(leg["unit"]):
        return _EXIT_UNKNOWN
    lots = abs(command["lots"])
    if lots < rule["min_lots"]:
        return _BELOW_MIN_QTY
    price = command["limit_price"]
    if math.isnan(price):
        price = command["trigger_price"]
    if math.isnan(price):
        price = leg["last_close"]
    if command["reduce_only"] == 0:
        if lots > rule["max_lots"]:
            return _ABOVE_MAX_QTY
        if times_unit(lots, rule["qty_step"], rule["step_inverse"]) * price < rule["min_notional_quote"] * (1.0 - SNAP):
            return _BELOW_MIN_NOTIONAL
    return _TOO_MANY_ORDERS if b.account[0]["n_open"] >= b.settings[0]["open_orders"] else _NONE


@inner_kernel
def take_command(b: Books, command: Record, ts: int) -> None:
    """Send a user's order or cancellation, given at a close, or record why it is refused."""
    k = command["leg"]
    is_cancel = command["kind"] == _CANCEL
    reason = _NONE
    if not is_cancel:
        reason = command_refusal(b, command)
    elif b.account[0]["is_ruined"] != 0:
        reason = _RUINED
    elif b.account[0]["n_open"] >= b.settings[0]["open_orders"]:
        reason = _TOO_MANY_ORDERS
    j = open_order(b, k, _CANCEL_ROLE if is_cancel else _COMMAND, command["kind"], ts, command["lots"])
    row = b.book[j]
    row["tag"], row["tif"], row["wait"] = command["tag"], command["tif"], b.rules[k]["latency_bars"] + 1
    row["limit_price"], row["trigger_price"] = command["limit_price"], command["trigger_price"]
    row["trigger_direction"], row["trigger_by"] = command["trigger_direction"], command["trigger_by"]
    row["reduce_only"], row["carries"] = command["reduce_only"], b.rules[k]["carries"]
    row["stop_loss"], row["take_profit"] = command["stop_loss"], command["take_profit"]
    if reason != _NONE:
        end_order(b, j, ts, _REJECTED, reason)


@inner_kernel
def cancel_by_tag(b: Books, k: int, tag: int, before: int, ts: int) -> int:
    """End the user's open orders of a tag on a leg (0: of any) with an id below ``before``; return how many."""
    count, j = 0, 0
    while j < b.account[0]["n_open"]:
        row = b.book[j]
        if row["leg"] == k and row["role"] == _COMMAND and row["order_id"] < before and (tag == 0 or row["tag"] == tag):
            end_order(b, j, ts, _CANCELLED, _BY_COMMAND)
            count += 1
        else:
            j += 1
    return count


@inner_kernel
def close_later(b: Books, k: int, ts: int, role: int) -> None:
    """Send the order of a time or volatility stop: reduce-only over the position, with the account's latency."""
    leg = b.legs[k]
    j = open_order(b, k, role, _MARKET, ts, -leg["lots"])
    row = b.book[j]
    row["reduce_only"], row["wait"] = 1, b.rules[k]["latency_bars"] + 1
    leg["leaving_id"] = row["order_id"]


@kernel
def asks_to_close(leg: Record, rule: Record, bar: int) -> int:
    """Return the role of the rule that closes an open position at this close, 0 for none."""
    if leg["closing_id"] != 0 or leg["leaving_id"] != 0:
        return 0
    if rule["time_stop_bars"] > 0 and bar - leg["entry_bar"] + 1 >= rule["time_stop_bars"]:
        return _TIME_STOP
    multiple = rule["volatility_multiple"]
    if not math.isnan(multiple) and leg["unit"] >= multiple * leg["entry_unit"]:  # false where one is NaN
        return _VOLATILITY
    return 0


@inner_kernel
def manage(
    b: Books, k: int, known_ts: int, high: float, low: float, close: float, trail_low: float, trail_high: float
) -> None:
    """Move the exits of an open position at a close, and send what time or volatility ask for."""
    leg, rule = b.legs[k], b.rules[k]
    update_best(leg, high, low, close)
    move_stop(leg, rule, close, trail_low, trail_high)
    role = asks_to_close(leg, rule, b.account[0]["bar"])
    if role != 0:
        close_later(b, k, known_ts, role)
