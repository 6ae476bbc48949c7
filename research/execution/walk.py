"""The way of prices through a bar: which order or level is met next, and what it does. It knows no clock.

A bar is a jump to its open and three monotone segments between open, low, high and close. Within a segment traded price
and mark price move together, and levels are met in the order in which the two reach them.
"""

from __future__ import annotations

import math

from research.execution.books import (
    Books,
    Records,
    end_all_orders,
    end_order,
    end_void_orders,
    is_busy,
    open_order,
    record_order,
    row_of,
)
from research.execution.costs import fee_quote, taker_price
from research.execution.exit_levels import next_step, settle_step
from research.execution.fills import apply_fill, try_fill
from research.execution.margin import (
    breach,
    cross_bankruptcy,
    equity_now,
    isolated_bankruptcy,
    refresh_liquidation,
)
from research.execution.records import Kind, Reason, Role, Status, TimeInForce, TriggerBy
from research.execution.rounding import on_tick, side_of, times_unit
from research.kernel import FloatArray, constant, inner_kernel, kernel, truth
from research.tables import table

_FILLED, _REJECTED, _CANCELLED = constant(Status.FILLED), constant(Status.REJECTED), constant(Status.CANCELLED)
_LIQUIDATED, _NOT_MARKETABLE = constant(Reason.LIQUIDATION), constant(Reason.NOT_MARKETABLE)
_POST_ONLY_WOULD_TAKE, _EXITED = constant(Reason.POST_ONLY_WOULD_TAKE), constant(Reason.EXITED)
_TAKE_PROFIT, _LIQUIDATION = constant(Role.TAKE_PROFIT), constant(Role.LIQUIDATION)
_MARKET, _LIMIT = constant(Kind.MARKET), constant(Kind.LIMIT)
_IOC, _POST_ONLY = constant(TimeInForce.IOC), constant(TimeInForce.POST_ONLY)
_MARK = constant(TriggerBy.MARK)

# What a segment met. The smaller code comes first where several are met at one price.
_NOTHING, _STOP_MET, _ORDER_MET, _TARGET_MET, _LIQUIDATION_MET = (constant(code) for code in range(5))
_NO, _YES = constant(0), constant(1)
_FALSE, _TRUE = truth(False), truth(True)

# Columns of the prices of a bar, as the walk reads them.
OPEN, HIGH, LOW, CLOSE, MARK, MARK_HIGH, MARK_LOW, MARK_CLOSE = (constant(column) for column in range(8))
N_PRICES = 8


@kernel
def is_met(price: float, level: float, is_above: bool, is_strict: bool) -> bool:
    """Tell whether a price is at or beyond a level; ``is_strict`` asks for beyond. False where the level is NaN."""
    if is_above:
        return price > level if is_strict else price >= level
    return price < level if is_strict else price <= level


@kernel
def fraction_met(
    level: float, is_above: bool, is_strict: bool, now: float, start: float, end: float, done: float
) -> float:
    """Return how far along a segment a level is met, at least ``done``; infinity where it is not."""
    if is_met(now, level, is_above, is_strict):
        return done
    if is_met(end, level, is_above, is_strict):
        return max((level - start) / (end - start), done)
    return math.inf


@inner_kernel
def next_event(
    b: Books, k: int, p0: float, p1: float, m0: float, m1: float, done: float
) -> tuple[float, int, int, float]:
    """Return the first thing that a leg meets on a segment: (fraction, what, row of the book, traded price there).

    Parameters
    ----------
    b : Books
    k : int
        The leg; its ``now`` and ``mark_now`` say how far it has come.
    p0, p1, m0, m1 : float
        Traded and mark price at the segment's ends.
    done : float
        Fraction that has been walked.
    """
    leg, rule = b.legs[k], b.rules[k]
    now, mark = leg["now"], leg["mark_now"]
    first, what, at, price = math.inf, _NOTHING, -1, now
    is_long = leg["lots"] > 0
    is_free = leg["lots"] != 0 and leg["closing_id"] == 0
    if is_free and not math.isnan(leg["stop"]):
        level = leg["stop"]
        if rule["stop_by"] == _MARK:
            f = fraction_met(level, not is_long, _FALSE, mark, m0, m1, done)
            reference = now if f == done else p0 + f * (p1 - p0)
        else:
            f = fraction_met(level, not is_long, _FALSE, now, p0, p1, done)
            reference = now if is_met(now, level, not is_long, _FALSE) else level
        if f < first:
            first, what, price = f, _STOP_MET, reference
    for j in range(b.account[0]["n_open"]):
        row = b.book[j]
        if row["leg"] != k:
            continue
        if row["is_armed"] != 0:
            level, is_above = row["trigger_price"], row["trigger_direction"] > 0
            if row["trigger_by"] == _MARK:
                f = fraction_met(level, is_above, _FALSE, mark, m0, m1, done)
                reference = now if f == done else p0 + f * (p1 - p0)
            else:
                f = fraction_met(level, is_above, _FALSE, now, p0, p1, done)
                reference = now if is_met(now, level, is_above, _FALSE) else level
        elif row["is_resting"] != 0 and leg["left"] >= 1.0:
            reference = row["limit_price"]
            f = fraction_met(reference, row["lots"] < 0, rule["touch_fills"] == 0, now, p0, p1, done)
        else:
            continue
        if f < first:
            first, what, at, price = f, _ORDER_MET, j, reference
    if is_free and leg["tp_next"] < leg["tp_count"]:
        level, is_strict = leg["tp_price"][leg["tp_next"]], False
        reference = level
        is_open = True
        if rule["take_profit_at_market"] == 0:
            is_strict = rule["touch_fills"] == 0
            is_open = leg["left"] >= 1.0
        elif is_met(now, level, is_long, _FALSE):
            reference = now
        if is_open:
            f = fraction_met(level, is_long, is_strict, now, p0, p1, done)
            if f < first:
                first, what, price = f, _TARGET_MET, reference
    if leg["lots"] != 0 and not math.isnan(leg["liquidation"]):
        f = fraction_met(leg["liquidation"], not is_long, _FALSE, mark, m0, m1, done)
        if f < first:
            first, what, price = f, _LIQUIDATION_MET, now if f == done else p0 + f * (p1 - p0)
    return first, what, at, price


@inner_kernel
def enter_market(b: Books, j: int, ts: int, price: float, is_within: int) -> None:
    """Let an order that has arrived, or was triggered, meet the market at a price: it fills, rests or ends."""
    row = b.book[j]
    row["has_arrived"], row["is_armed"] = 1, 0
    if row["kind"] == _MARKET:
        try_fill(b, j, ts, price, math.nan, _NO, is_within)
        return
    rule = b.rules[row["leg"]]
    side = 1 if row["lots"] > 0 else -1
    touch = on_tick(price * (1.0 + side * rule["half_spread_frac"]), rule["tick"], rule["tick_inverse"], side)
    if side * (row["limit_price"] - touch) >= 0.0:
        if row["tif"] == _POST_ONLY:
            end_order(b, j, ts, _REJECTED, _POST_ONLY_WOULD_TAKE)
        else:
            try_fill(b, j, ts, price, row["limit_price"], _NO, is_within)
    elif row["tif"] == _IOC:
        end_order(b, j, ts, _CANCELLED, _NOT_MARKETABLE)
    else:
        row["is_resting"] = 1


@inner_kernel
def close_at_market(b: Books, k: int, ts: int, lots: int, role: int, reference: float, is_within: int) -> None:
    """Send a reduce-only market order of the account's own, which goes on until it is done."""
    leg = b.legs[k]
    j = open_order(b, k, role, _MARKET, ts, lots)
    row = b.book[j]
    row["reduce_only"], row["has_arrived"] = 1, 1
    leg["closing_id"] = row["order_id"]
    try_fill(b, j, ts, reference, math.nan, _NO, is_within)


@inner_kernel
def end_growing_target(b: Books, k: int, ts: int) -> None:
    """End the rest of an order to a target that would add to the position that a stop is about to close."""
    j = row_of(b, b.legs[k]["pending_id"])
    if j >= 0 and b.book[j]["has_arrived"] != 0 and side_of(b.book[j]["desired"]) * side_of(b.legs[k]["lots"]) > 0:
        end_order(b, j, ts, _CANCELLED, _EXITED)


@inner_kernel
def take_profit(b: Books, k: int, ts: int, price: float, is_within: int) -> None:
    """Take the ladder's current step: a resting limit at its price, or a market order from it on."""
    leg, rule = b.legs[k], b.rules[k]
    side = 1 if leg["lots"] > 0 else -1
    lots = min(leg["tp_left"], abs(leg["lots"]))
    leg["has_taken"] = 1
    if rule["take_profit_at_market"] != 0:
        next_step(leg)
        settle_step(leg, rule)
        close_at_market(b, k, ts, -side * lots, _TAKE_PROFIT, price, is_within)
        return
    if lots > leg["left"]:
        lots = int(leg["left"])
    j = open_order(b, k, _TAKE_PROFIT, _LIMIT, ts, -side * lots)
    row = b.book[j]
    row["reduce_only"], row["has_arrived"], row["is_resting"], row["limit_price"] = 1, 1, 1, price
    leg["tp_left"], leg["tp_taken"] = leg["tp_left"] - lots, leg["tp_taken"] + lots
    if leg["tp_left"] == 0:
        next_step(leg)
        settle_step(leg, rule)
    try_fill(b, j, ts, price, price, _YES, is_within)


@inner_kernel
def take_over(b: Books, k: int, ts: int, is_within: int) -> None:
    """Liquidate a leg at its bankruptcy price: isolated, it loses its margin, the one of a cross account all."""
    account, leg, rule = b.account[0], b.legs[k], b.rules[k]
    side = 1 if leg["lots"] > 0 else -1
    lots, qty = -leg["lots"], abs(leg["qty"])
    account["liquidations"] += 1
    if b.settings[0]["is_cross"] == 0:
        price = on_tick(
            isolated_bankruptcy(leg["entry_price"], side, leg["leverage"]), rule["tick"], rule["tick_inverse"], -side
        )
        fee = fee_quote(qty, price, rule["liquidation_frac"])
    else:
        price = cross_bankruptcy(qty, side, leg["entry_price"], account["wallet"], rule["liquidation_frac"])
        price = on_tick(price, rule["tick"], rule["tick_inverse"], side)  # never beyond what the wallet pays for
        fee = account["wallet"] + leg["qty"] * (price - leg["entry_price"])
    order_id = record_own(b, k, ts, lots)
    apply_fill(b, k, ts, lots, price, price, fee, order_id, _LIQUIDATION, _NO, is_within)
    end_void_orders(b, k, ts)
    if b.settings[0]["is_cross"] != 0:
        account["wallet"] = 0.0  # but for the rounding of its last fill
        close_account(b, ts)


@inner_kernel
def record_own(b: Books, k: int, ts: int, lots: int) -> int:
    """Write the order of a liquidation, filled whole, and return its id."""
    j = open_order(b, k, _LIQUIDATION, _MARKET, ts, lots)
    row = b.book[j]
    order_id = row["order_id"]
    row["filled"] = lots
    record_order(b, row, ts, _FILLED, _LIQUIDATED)
    b.account[0]["n_open"] -= 1  # it is the last row
    return order_id


@inner_kernel
def close_account(b: Books, ts: int) -> None:
    """End an account that was liquidated as a whole: nothing trades any more."""
    b.account[0]["is_ruined"] = 1
    end_all_orders(b, ts)


@inner_kernel
def check_margin(b: Books, ts: int) -> bool:
    """Sell everything at current prices where the account's margin is breached; tell whether it was.

    A breach of the cross margin of perpetuals takes all that is left, as the fee of the last fill, and leaves a debt
    where the prices have gone beyond it. Where the debt of spot positions is too large, the rest stays.
    """
    account = b.account[0]
    kind = 0
    if account["is_ruined"] == 0:
        kind = breach(b)
    if kind == 0:
        return False
    account["liquidations"] += 1
    n_legs, last = b.settings[0]["n_legs"], -1
    for k in range(n_legs):
        if b.legs[k]["lots"] != 0:
            last = k
    for k in range(last + 1):
        leg, rule = b.legs[k], b.rules[k]
        lots = -leg["lots"]
        if lots == 0:
            continue
        side = 1 if lots > 0 else -1
        qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        price = taker_price(rule, leg["now"], side, leg["unit"], leg["bar_volume"], qty)
        fee = fee_quote(qty, price, rule["liquidation_frac"])
        if kind == 2 and k == last:
            gain = -qty * price if rule["is_spot"] != 0 else leg["qty"] * (price - leg["entry_price"])
            fee = max(account["wallet"] + gain, 0.0)
        order_id = record_own(b, k, ts, lots)
        apply_fill(b, k, ts, lots, leg["now"], price, fee, order_id, _LIQUIDATION, _NO, _YES)
        end_void_orders(b, k, ts)
    if kind == 2:
        account["wallet"] = min(account["wallet"], 0.0)
        close_account(b, ts)
    return True


@inner_kernel
def walk_leg(b: Books, k: int, ts: int, p1: float, m1: float, is_within: int) -> None:
    """Move a leg's prices along a segment to ``p1`` and ``m1`` and let it meet what lies on the way."""
    leg = b.legs[k]
    p0, m0, done = leg["now"], leg["mark_now"], 0.0
    while b.account[0]["is_ruined"] == 0:
        f, what, j, price = next_event(b, k, p0, p1, m0, m1, done)
        if what == _NOTHING:
            break
        if f > done:  # what is met where the prices stand already does not move them
            leg["now"], leg["mark_now"], done = price, m0 + f * (m1 - m0), f
        if what == _STOP_MET:
            end_growing_target(b, k, ts)
            close_at_market(b, k, ts, -leg["lots"], leg["stop_role"], price, is_within)
        elif what == _ORDER_MET:
            if b.book[j]["is_armed"] != 0:
                enter_market(b, j, ts, price, is_within)
            else:
                try_fill(b, j, ts, price, price, _YES, is_within)
        elif what == _TARGET_MET:
            take_profit(b, k, ts, price, is_within)
        else:
            take_over(b, k, ts, is_within)
    leg["now"], leg["mark_now"] = p1, m1


@inner_kernel
def walk_to(b: Books, prices: FloatArray, ts: int, column: int) -> None:
    """Move every leg to one vertex of its bar, and liquidate the account where it is breached there.

    Parameters
    ----------
    b : Books
    prices : (S, 8) array
        Columns OPEN to MARK_CLOSE.
    ts : int
        Open of the bar.
    column : int
        OPEN, HIGH, LOW or CLOSE.
    """
    for k in range(b.settings[0]["n_legs"]):
        if b.legs[k]["is_gap"] == 0:
            walk_leg(b, k, ts, prices[k, column], prices[k, MARK + column], _YES)
    check_margin(b, ts)


@inner_kernel
def jump_to(b: Books, prices: FloatArray, ts: int, column: int) -> None:
    """Put every leg at a price of its bar at once: what lies between is met there, limits at their own price."""
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["is_gap"] == 0:
            leg["now"], leg["mark_now"] = prices[k, column], prices[k, MARK + column]
            walk_leg(b, k, ts, leg["now"], leg["mark_now"], _YES)
    check_margin(b, ts)


@inner_kernel
def walk_path(b: Books, prices: FloatArray, ts: int, is_high_first: bool) -> float:
    """Walk a bar from where the legs stand over its extremes to its close; return the equity there."""
    walk_to(b, prices, ts, HIGH if is_high_first else LOW)
    walk_to(b, prices, ts, LOW if is_high_first else HIGH)
    walk_to(b, prices, ts, CLOSE)
    return equity_now(b)


@inner_kernel
def refresh_bounds(b: Books) -> None:
    """Work out between which prices every leg meets nothing, and whether an order must meet the next open.

    A traded price strictly between ``low_level`` and ``high_level``, and a mark strictly between the other two, change
    nothing.
    """
    b.account[0]["is_busy"] = 1 if is_busy(b) else 0
    for k in range(b.settings[0]["n_legs"]):
        refresh_leg_bounds(b, k)


@kernel
def enter_terms(
    account: Records, settings: Records, legs: Records, rules: Records, tiers: Records, book: Records, fills: Records,
    orders: Records,
) -> None:  # fmt: skip
    """Work out every level again after other terms have come into force."""
    b = Books(
        table(account),
        table(settings),
        table(legs),
        table(rules),
        table(tiers),
        table(book),
        table(fills),
        table(orders),
    )
    for k in range(b.settings[0]["n_legs"]):
        refresh_liquidation(b, k)
    refresh_bounds(b)


@inner_kernel
def refresh_leg_bounds(b: Books, k: int) -> None:
    """Work out between which prices a leg meets nothing."""
    leg, rule = b.legs[k], b.rules[k]
    low, high, mark_low, mark_high = -math.inf, math.inf, -math.inf, math.inf
    is_long = leg["lots"] > 0
    if leg["lots"] != 0:
        if not math.isnan(leg["liquidation"]):
            if is_long:
                mark_low = max(mark_low, leg["liquidation"])
            else:
                mark_high = min(mark_high, leg["liquidation"])
        if leg["closing_id"] == 0:
            if not math.isnan(leg["stop"]):
                if rule["stop_by"] == _MARK:
                    if is_long:
                        mark_low = max(mark_low, leg["stop"])
                    else:
                        mark_high = min(mark_high, leg["stop"])
                elif is_long:
                    low = max(low, leg["stop"])
                else:
                    high = min(high, leg["stop"])
            if leg["tp_next"] < leg["tp_count"]:
                if is_long:
                    high = min(high, leg["tp_price"][leg["tp_next"]])
                else:
                    low = max(low, leg["tp_price"][leg["tp_next"]])
    for j in range(b.account[0]["n_open"]):
        row = b.book[j]
        if row["leg"] != k:
            continue
        if row["is_armed"] != 0:
            if row["trigger_by"] == _MARK:
                if row["trigger_direction"] > 0:
                    mark_high = min(mark_high, row["trigger_price"])
                else:
                    mark_low = max(mark_low, row["trigger_price"])
            elif row["trigger_direction"] > 0:
                high = min(high, row["trigger_price"])
            else:
                low = max(low, row["trigger_price"])
        elif row["is_resting"] != 0:
            if row["lots"] > 0:
                low = max(low, row["limit_price"])
            else:
                high = min(high, row["limit_price"])
    leg["low_level"], leg["high_level"] = low, high
    leg["mark_low_level"], leg["mark_high_level"] = mark_low, mark_high


@inner_kernel
def meets_anything(b: Books, prices: FloatArray) -> bool:
    """Tell whether any leg meets something in its bar, or the account is breached at a vertex as it stands now.

    Trusts that :func:`refresh_bounds` has been called since anything changed.
    """
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["is_gap"] == 0:
            if prices[k, LOW] <= leg["low_level"] or prices[k, HIGH] >= leg["high_level"]:
                return True
            low = min(prices[k, MARK], prices[k, MARK_LOW], prices[k, MARK_CLOSE])
            high = max(prices[k, MARK], prices[k, MARK_HIGH], prices[k, MARK_CLOSE])
            if low <= leg["mark_low_level"] or high >= leg["mark_high_level"]:
                return True
    if b.settings[0]["can_borrow"] != 0 or (b.settings[0]["is_cross"] != 0 and b.settings[0]["n_legs"] > 1):
        for column in (LOW, HIGH, CLOSE):
            for k in range(b.settings[0]["n_legs"]):
                if b.legs[k]["is_gap"] == 0:
                    b.legs[k]["now"], b.legs[k]["mark_now"] = prices[k, column], prices[k, MARK + column]
            if breach(b) != 0:
                stand_at_open(b, prices)
                return True
        stand_at_open(b, prices)
    return False


@inner_kernel
def stand_at_open(b: Books, prices: FloatArray) -> None:
    """Put every leg that has a price at its open."""
    for k in range(b.settings[0]["n_legs"]):
        if b.legs[k]["is_gap"] == 0:
            b.legs[k]["now"], b.legs[k]["mark_now"] = prices[k, OPEN], prices[k, MARK]
