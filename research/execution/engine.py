"""The account over a chunk of bars: what happens in a bar, in order, and the bars in which nothing does.

``docs/execution.md`` tells the order of a bar's events in words. It is the same kernel in backtest, sweep and paper.
"""

from __future__ import annotations

import math

import numpy as np

from research.execution.books import (
    Books,
    Record,
    Records,
    end_all_orders,
    end_order,
    keep,
    open_order,
    record_order,
    restore,
    row_of,
)
from research.execution.costs import fee_quote, taker_price
from research.execution.curve import begin_bar, mark_equity
from research.execution.decisions import (
    cancel_by_tag,
    manage,
    may_go_alone,
    take_command,
    take_target,
)
from research.execution.fills import apply_fill, free_cash, growth_refusal, price_of, refresh_all
from research.execution.margin import equity_now, maintenance_now
from research.execution.quiet import Flags, pass_quiet
from research.execution.records import Kind, Reason, Role, Status, TriggerBy
from research.execution.rounding import SNAP, lots_of, side_of, times_unit
from research.execution.walk import (
    CLOSE,
    HIGH,
    LOW,
    MARK,
    MARK_CLOSE,
    MARK_HIGH,
    MARK_LOW,
    N_PRICES,
    OPEN,
    check_margin,
    enter_market,
    is_met,
    jump_to,
    meets_anything,
    refresh_bounds,
    stand_at_open,
    walk_leg,
    walk_path,
)
from research.kernel import FloatArray, IntArray, borrowed, constant, inlined_kernel, inner_kernel, kernel, truth
from research.market.bars import NS_PER_DAY
from research.tables import column, table

NS_PER_HOUR = 3_600 * 10**9
TIE = 1e-9  # equities of two paths this near, relative, are one

_FILLED, _REJECTED, _CANCELLED = constant(Status.FILLED), constant(Status.REJECTED), constant(Status.CANCELLED)
_NONE, _RUINED, _EXITED = constant(Reason.NONE), constant(Reason.RUINED), constant(Reason.EXITED)
_NOTHING_TO_DO, _UNKNOWN_TAG = constant(Reason.NOTHING_TO_DO), constant(Reason.UNKNOWN_TAG)
_INSUFFICIENT_MARGIN = constant(Reason.INSUFFICIENT_MARGIN)
_TARGET, _RUIN, _TIME_STOP, _VOLATILITY = (
    constant(Role.TARGET),
    constant(Role.RUIN),
    constant(Role.TIME_STOP),
    constant(Role.VOLATILITY),
)
_MARKET, _CANCEL, _MARK = constant(Kind.MARKET), constant(Kind.CANCEL), constant(TriggerBy.MARK)

_NO, _YES = constant(0), constant(1)
_OF_BAR, _OF_FINE = constant(1), constant(2)  # where the state before a bar and before a finer bar is kept
_FALSE, _TRUE = truth(False), truth(True)

# Fills and orders that a bar may bring for each row of the book: its own, and the exits of the position it opens.
PER_ROW = 16


@inner_kernel
def settle(b: Books, prices: FloatArray, funding_rate: FloatArray, n: int, i: int, ts: int, paid: FloatArray) -> None:
    """Settle funding and interest at a bar's open on what is held before it; add to ``paid`` (funding, interest).

    A long pays funding when the rate is positive: ``-qty * mark * rate``. Interest is due at full hours.
    """
    account, settings = b.account[0], b.settings[0]
    has_changed = False
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        rate = funding_rate[k * n + i]
        if rate != 0.0 and leg["lots"] != 0:
            price = prices[k, MARK]
            if math.isnan(price):
                price = leg["last_close"]
            amount = -leg["qty"] * price * rate
            account["wallet"] += amount
            leg["funding_since_fill"] += amount
            leg["open_funding"] += amount
            account["funding"] += amount
            paid[0] += amount
            has_changed = True
    # Full hours that have passed since the bar before opened.
    hours = ts // NS_PER_HOUR - (ts - settings["step_ns"]) // NS_PER_HOUR if settings["can_borrow"] != 0 else 0
    if hours > 0:
        interest = 0.0
        for k in range(b.settings[0]["n_legs"]):
            leg = b.legs[k]
            if b.rules[k]["is_spot"] != 0 and leg["lots"] < 0:
                price = leg["last_close"] if leg["is_gap"] != 0 else prices[k, OPEN]
                interest -= leg["qty"] * price * b.rules[k]["base_rate_hourly"]
        if account["wallet"] < 0.0:
            interest -= account["wallet"] * settings["quote_rate_hourly"]
        interest *= hours
        if interest != 0.0:
            account["wallet"] -= interest
            account["interest"] += interest
            paid[1] += interest
            has_changed = True
    if has_changed:
        refresh_all(b)
        refresh_bounds(b)


@inner_kernel
def pair_refusal(b: Books, j: int, other: int, ts: int) -> int:
    """Return why the two orders of a pair cannot both be paid for at this open, 0 where they can."""
    spent = 0.0
    for row_index in (j, other):
        row = b.book[row_index]
        k = row["leg"]
        leg, rule = b.legs[k], b.rules[k]
        lots = row["desired"] - leg["lots"]
        if lots == 0:
            continue
        price = price_of(b, k, lots, leg["now"], math.nan, _NO)
        reason = growth_refusal(b, k, lots, leg["now"], price, spent)
        if reason != _NONE:
            return reason
        qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        fee = fee_quote(qty, price, rule["taker_frac"])
        spent += fee
        if b.settings[0]["is_cross"] != 0:  # what the fill takes from the equity, and from the collateral
            spent += qty * (price - leg["now"])
            if rule["is_spot"] != 0:
                spent += max(qty, 0.0) * leg["now"] * (1.0 - rule["collateral_frac"])
        if rule["is_spot"] != 0:
            cash = free_cash(b) - fee - qty * price
            if b.settings[0]["can_borrow"] == 0 and cash < -SNAP * abs(qty * price):
                return _INSUFFICIENT_MARGIN
            if b.settings[0]["is_cross"] == 0:
                spent += qty * price
    return _NONE


@inner_kernel
def is_parted(b: Books, j: int, other: int) -> bool:
    """Tell whether an exit of either leg of a pair forbids that both orders are filled."""
    first, second = b.book[j], b.book[other]
    is_blocked = first["desired"] * b.legs[first["leg"]]["blocked_side"] > 0
    return is_blocked or second["desired"] * b.legs[second["leg"]]["blocked_side"] > 0


@inner_kernel
def part_pair(b: Books, j: int, other: int, ts: int) -> bool:
    """End those orders of a pair that an exit of either leg forbids; tell whether the first one is among them."""
    first, second = b.book[j], b.book[other]
    leg, hedge = b.legs[first["leg"]], b.legs[second["leg"]]
    second_id, second_may = second["order_id"], may_go_alone(hedge, second["desired"])
    first_may = may_go_alone(leg, first["desired"])
    if not first_may:
        end_order(b, j, ts, _CANCELLED, _EXITED)
    if not second_may:
        end_order(b, row_of(b, second_id), ts, _CANCELLED, _EXITED)
    return not first_may


@inlined_kernel
def meet_target(b: Books, j: int, ts: int) -> None:
    """Let an order to a target that has arrived trade what is missing to its desired position at the open."""
    row = b.book[j]
    k = row["leg"]
    leg = b.legs[k]
    if row["desired"] * leg["blocked_side"] > 0:
        end_order(b, j, ts, _CANCELLED, _EXITED)
        return
    missing = row["desired"] - leg["lots"]
    if side_of(missing) * side_of(row["ordered"]) <= 0:
        end_order(b, j, ts, _CANCELLED, _NOTHING_TO_DO)
        return
    row["lots"] = missing
    enter_market(b, j, ts, leg["now"], _NO)


@inner_kernel
def arrive(b: Books, ts: int) -> None:
    """Count every order under way one open nearer, and let those that have arrived meet their leg's open, by id."""
    for j in range(b.account[0]["n_open"]):
        if b.book[j]["wait"] > 0:
            b.book[j]["wait"] -= 1
    last = 0
    while b.account[0]["is_ruined"] == 0:
        found = -1
        for j in range(b.account[0]["n_open"]):
            row = b.book[j]
            waits = row["is_resting"] == 0 and row["is_armed"] == 0 and row["wait"] == 0
            if row["order_id"] > last and waits and b.legs[row["leg"]]["is_gap"] == 0:
                found = j
                break
        if found < 0:
            return
        row = b.book[found]
        last = row["order_id"]
        k = row["leg"]
        leg = b.legs[k]
        if row["kind"] == _CANCEL:
            tag = row["tag"]
            cancelled = cancel_by_tag(b, k, tag, last, ts)
            j = row_of(b, last)
            if cancelled > 0 or tag == 0:
                end_order(b, j, ts, _FILLED, _NONE)
            else:
                end_order(b, j, ts, _REJECTED, _UNKNOWN_TAG)
            continue
        if row["pair_id"] != 0:
            other = row_of(b, row["pair_id"])
            if other >= 0 and b.legs[b.book[other]["leg"]]["is_gap"] != 0:
                continue
            row["pair_id"] = 0
            if other >= 0:
                b.book[other]["pair_id"] = 0
                if is_parted(b, found, other):
                    if part_pair(b, found, other, ts):
                        continue
                    reason = _NONE
                else:
                    reason = pair_refusal(b, found, other, ts)
                if reason != _NONE:
                    other_id = b.book[other]["order_id"]
                    end_order(b, found, ts, _REJECTED, reason)
                    end_order(b, row_of(b, other_id), ts, _REJECTED, reason)
                    continue
        is_new = row["has_arrived"] == 0
        row["has_arrived"] = 1
        if row["role"] == _TIME_STOP or row["role"] == _VOLATILITY:
            leg["leaving_id"] = 0
            if leg["closing_id"] == 0:
                leg["closing_id"] = row["order_id"]
        if row["role"] == _TARGET:
            meet_target(b, found, ts)
        elif is_new and not math.isnan(row["trigger_price"]):
            watched = leg["mark_now"] if row["trigger_by"] == _MARK else leg["now"]
            if is_met(watched, row["trigger_price"], row["trigger_direction"] > 0, _FALSE):
                enter_market(b, found, ts, leg["now"], _NO)
            else:
                row["is_armed"] = 1
        else:
            enter_market(b, found, ts, leg["now"], _NO)


@kernel
def stands_alike(a: float, c: float) -> bool:
    """Tell whether two equities are one but for rounding."""
    return abs(a - c) <= TIE * max(1.0, abs(a))


@inner_kernel
def walk_both(b: Books, prices: FloatArray, ts: int, slot: int) -> float:
    """Walk a bar, or one of its finer bars, on both of its paths and keep the one that the account prefers to show.

    Returns
    -------
    float
        How much better or worse the other way would have been, in size: 0 where they agree.
    """
    keep(b, slot)
    low_first = walk_path(b, prices, ts, _FALSE)
    restore(b, slot)
    high_first = walk_path(b, prices, ts, _TRUE)
    is_tie = stands_alike(low_first, high_first)
    if is_tie or (high_first > low_first) != (b.settings[0]["prefers_better"] != 0):
        restore(b, slot)
        walk_path(b, prices, ts, _FALSE)
    return 0.0 if is_tie else abs(low_first - high_first)


@inner_kernel
def has_fine(b: Books, fine: FloatArray, first: int, count: int) -> bool:
    """Tell whether every leg with a price has all finer bars of the bar."""
    if count == 0:
        return False
    for k in range(b.settings[0]["n_legs"]):
        if b.legs[k]["is_gap"] == 0:
            for q in range(4):
                for m in range(first, first + count):
                    if math.isnan(fine[q, k, m]):
                        return False
    return True


@kernel
def fine_prices(step: FloatArray, prices: FloatArray, fine: FloatArray, m: int) -> None:
    """Write finer bar ``m`` of every leg into ``step``; marks keep their distance from the open of the whole bar."""
    for k in range(prices.shape[0]):
        for q in range(4):
            step[k, q] = fine[q, k, m]
            step[k, MARK + q] = fine[q, k, m] + (prices[k, MARK] - prices[k, OPEN])


@inner_kernel
def walk_bar(b: Books, prices: FloatArray, fine: FloatArray, first: int, count: int, ts: int) -> float:
    """Walk one bar from its open to its close; return how much better its other path would have been.

    Where the paths differ and the bar has finer bars, it is walked along these, each on the path that the account
    prefers, and what they leave undecided is returned.
    """
    undecided = walk_both(b, prices, ts, _OF_BAR)
    if undecided == 0.0 or not has_fine(b, fine, first, count):
        return undecided
    restore(b, _OF_BAR)
    undecided = 0.0
    step = prices.copy()
    for m in range(first, first + count):
        fine_prices(step, prices, fine, m)
        jump_to(b, step, ts, OPEN)
        undecided += walk_both(b, step, ts, _OF_FINE)
    jump_to(b, prices, ts, CLOSE)
    return undecided


@inner_kernel
def ruin(b: Books, ts: int) -> None:
    """End what is open, flatten every position at its close and stop trading."""
    end_all_orders(b, ts)
    for k in range(b.settings[0]["n_legs"]):
        leg, rule = b.legs[k], b.rules[k]
        lots = -leg["lots"]
        if lots == 0:
            continue
        side = 1 if lots > 0 else -1
        qty = times_unit(lots, rule["qty_step"], rule["step_inverse"])
        price = taker_price(rule, leg["now"], side, leg["unit"], leg["bar_volume"], qty)
        j = open_order(b, k, _RUIN, _MARKET, ts, lots)
        row = b.book[j]
        row["filled"] = lots
        order_id = row["order_id"]
        record_order(b, row, ts, _FILLED, _RUINED)
        b.account[0]["n_open"] -= 1  # it is the last row
        fee = fee_quote(qty, price, rule["taker_frac"])
        apply_fill(b, k, ts, lots, leg["now"], price, fee, order_id, _RUIN, _NO, _YES)
    b.account[0]["is_ruined"] = 1


@kernel
def read_bar(
    leg: Record, rule: Record, prices: FloatArray, o: float, h: float, lo: float, c: float, volume: float, mark: float,
    mark_high: float, mark_low: float, mark_close: float,
) -> None:  # fmt: skip
    """Write a leg's bar into its row of ``prices`` and open its volume budget."""
    is_gap = math.isnan(o + h + lo + c)
    leg["is_gap"] = 1 if is_gap else 0
    prices[OPEN], prices[HIGH], prices[LOW], prices[CLOSE] = o, h, lo, c
    prices[MARK] = o if math.isnan(mark) and not is_gap else mark
    if math.isnan(mark_high + mark_low + mark_close):
        basis = prices[MARK] - o if not is_gap else 0.0  # unrecorded, the mark keeps its distance of the open
        mark_high, mark_low, mark_close = h + basis, lo + basis, c + basis
    prices[MARK_HIGH], prices[MARK_LOW], prices[MARK_CLOSE] = mark_high, mark_low, mark_close
    leg["bar_volume"], leg["left"] = volume, math.inf
    if not math.isnan(rule["volume_cap_frac"]) and not math.isnan(volume):
        leg["left"] = lots_of(rule["volume_cap_frac"] * volume, rule["qty_step"])


@inner_kernel
def open_bar(b: Books, prices: FloatArray, ts: int) -> None:
    """Let what was at the venue before meet the opens, and then what arrives; the legs stand at their opens."""
    has_met = False
    for k in range(b.settings[0]["n_legs"]):
        leg = b.legs[k]
        if leg["is_gap"] == 0:
            is_between = leg["low_level"] < prices[k, OPEN] < leg["high_level"]
            if not (is_between and leg["mark_low_level"] < prices[k, MARK] < leg["mark_high_level"]):
                walk_leg(b, k, ts, prices[k, OPEN], prices[k, MARK], _NO)
                has_met = True
    has_met = check_margin(b, ts) or has_met
    if b.account[0]["is_busy"] != 0:
        arrive(b, ts)
        has_met = True
    if has_met:
        refresh_bounds(b)


@inner_kernel
def mark_account(b: Books, known_ts: int) -> None:
    """Mark the account at the closes of a bar, and end it where nothing is left; gaps wait for a close."""
    account = b.account[0]
    account["equity"] = equity_now(b)
    if account["equity"] <= 0.0 and account["is_ruined"] == 0:
        for k in range(b.settings[0]["n_legs"]):
            if b.legs[k]["is_gap"] != 0:
                return
        ruin(b, known_ts)
        account["equity"] = equity_now(b)


@kernel
def advance(
    account_: Records, settings: Records, legs: Records, rules: Records, tiers: Records, book: Records, fills: Records,
    orders: Records, ts: IntArray, open__: FloatArray, high_: FloatArray, low_: FloatArray, close_: FloatArray,
    volume_: FloatArray, mark_: FloatArray, mark_high_: FloatArray, mark_low_: FloatArray, mark_close_: FloatArray,
    funding_rate_: FloatArray, unit_: FloatArray, trail_low_: FloatArray, trail_high_: FloatArray,
    target_: FloatArray, commands_: Records, fine: FloatArray, rows_: Records, held: IntArray, daily: FloatArray,
    summary_: FloatArray, start: int, stop: int,
) -> int:  # fmt: skip
    """Advance an account over a chunk of bars.

    Parameters
    ----------
    account_, settings, legs, rules, tiers, book, fills, orders : arrays of records
        The account, updated in place; see :class:`research.execution.books.Books`.
    ts : (n,) array of int64
        Bar open times, ns UTC, one step apart.
    open__, high_, low_, close_ : (S, n) arrays of float64
        Prices; a NaN in any of them makes the bar a gap of that leg.
    volume_, mark_, mark_high_, mark_low_, mark_close_, unit_, trail_low_, trail_high_, target_ : (S, n) or (S, 0)
        Optional columns, without bars where they are not known at all; NaN is unknown in that bar.
    funding_rate_ : (S, n) array of float64
        Rate settled at the bar's open, as a fraction; 0 where none.
    commands_ : array of COMMANDS
        By bar.
    fine : (4, S, n * m) or (4, S, 0) array of float64
        Open, high, low and close of m finer bars for each bar.
    rows_ : (n,) or (0,) array of ROWS
        Filled for the bars consumed. Without rows, fills and orders are written over at every bar; both have room for
        those of one, and ``commands_`` is empty.
    held : (S, n) or (S, 0) array of int64
        Filled with the lots of each leg.
    daily : array of float64
        Filled with the return of each day that has ended, as far as it reaches.
    summary_ : (5, n // RUN) or (5, 0) array
        From :func:`research.execution.quiet.summarise_runs`, for an account of one leg.
    start, stop : int
        First bar to consume and the one after the last.

    Returns
    -------
    int
        The bar to go on with: ``stop``, or the first one for which ``fills`` or ``orders`` might be too short.

    Notes
    -----
    Trusts what :func:`research.execution.account.first_fault` has established.
    """
    b = Books(
        table(account_),
        table(settings),
        table(legs),
        table(rules),
        table(tiers),
        table(book),
        table(fills),
        table(orders),
    )
    n = ts.shape[0]
    has = Flags(
        volume_.shape[1] > 0, mark_.shape[1] > 0, mark_high_.shape[1] > 0, unit_.shape[1] > 0, trail_low_.shape[1] > 0,
        trail_high_.shape[1] > 0, target_.shape[1] > 0, rows_.shape[0] > 0,
    )  # fmt: skip
    open_, high, low, close, volume = column(open__), column(high_), column(low_), column(close_), column(volume_)
    mark, mark_high, mark_low, mark_close = column(mark_), column(mark_high_), column(mark_low_), column(mark_close_)
    funding_rate, unit, target = column(funding_rate_), column(unit_), column(target_)
    trail_low, trail_high, rows, commands = column(trail_low_), column(trail_high_), table(rows_), table(commands_)
    ts, fine, held, daily = borrowed(ts), borrowed(fine), borrowed(held), borrowed(daily)
    n_commands, n_runs, summary = commands_.shape[0], summary_.shape[1], column(summary_)
    account, n_legs, step_ns = b.account[0], b.settings[0]["n_legs"], b.settings[0]["step_ns"]
    keeps = has.rows
    per_bar = fine.shape[2] // n if n > 0 else 0
    prices, paid = np.empty((n_legs, N_PRICES)), np.zeros(2)
    room = PER_ROW * b.settings[0]["book_rows"]
    i = start
    while i < stop:
        if n_legs == 1:
            quiet_stop = stop
            if b.account[0]["commands_written"] < n_commands:
                quiet_stop = min(stop, commands[b.account[0]["commands_written"]]["bar"])
            i = pass_quiet(
                b, ts, open_, high, low, close, mark, mark_high, mark_low, mark_close, funding_rate, unit, trail_low,
                trail_high, target, rows, daily, summary, n_runs, has, i, quiet_stop,
            )  # fmt: skip
            if i == stop:
                break
        if not keeps:
            b.account[0]["fills_written"] = b.account[0]["orders_written"] = 0
        given = b.account[0]["commands_written"]
        while given < n_commands and commands[given]["bar"] == i:
            given += 1
        is_short = b.account[0]["fills_written"] + room > b.settings[0]["fills_room"]
        if (
            is_short
            or b.account[0]["orders_written"] + room + (given - b.account[0]["commands_written"])
            > b.settings[0]["orders_room"]
        ):
            return i
        if ts[i] >= (account["day"] + 1) * NS_PER_DAY:
            begin_bar(account, ts[i], daily)
        paid[0] = paid[1] = 0.0
        account["bar_fee"] = account["bar_slippage"] = 0.0
        is_due = b.settings[0]["can_borrow"] != 0
        for k in range(n_legs):
            leg = b.legs[k]
            read_bar(
                leg, b.rules[k], prices[k], open_[k * n + i], high[k * n + i], low[k * n + i], close[k * n + i],
                volume[k * n + i] if has.volume else math.nan, mark[k * n + i] if has.mark else math.nan,
                mark_high[k * n + i] if has.path else math.nan, mark_low[k * n + i] if has.path else math.nan,
                mark_close[k * n + i] if has.path else math.nan,
            )  # fmt: skip
            is_due = is_due or (funding_rate[k * n + i] != 0.0 and leg["lots"] != 0)
        if is_due:
            settle(b, prices, funding_rate, n, i, ts[i], paid)
        stand_at_open(b, prices)
        open_bar(b, prices, ts[i])
        ambiguous = 0.0
        if meets_anything(b, prices):
            ambiguous = walk_bar(b, prices, fine, i * per_bar, per_bar, ts[i])
        for k in range(n_legs):
            leg = b.legs[k]
            if leg["is_gap"] == 0:
                leg["now"], leg["mark_now"], leg["last_close"] = (
                    prices[k, CLOSE],
                    prices[k, MARK_CLOSE],
                    prices[k, CLOSE],
                )
                if has.unit and not math.isnan(unit[k * n + i]):
                    leg["unit"] = unit[k * n + i]
        known_ts = ts[i] + step_ns
        mark_account(b, known_ts)
        for k in range(n_legs):
            leg = b.legs[k]
            if leg["is_gap"] == 0:
                if leg["lots"] != 0 and b.rules[k]["is_managed"] != 0:
                    below = trail_low[k * n + i] if has.trail_low else math.nan
                    above = trail_high[k * n + i] if has.trail_high else math.nan
                    manage(b, k, known_ts, prices[k, HIGH], prices[k, LOW], prices[k, CLOSE], below, above)
                leg["entered_within"] = 0
        while b.account[0]["commands_written"] < n_commands and commands[b.account[0]["commands_written"]]["bar"] == i:
            take_command(b, commands[b.account[0]["commands_written"]], known_ts)
            b.account[0]["commands_written"] += 1
        for k in range(n_legs):
            take_target(b, k, known_ts, target[k * n + i] if has.target else math.nan)
        is_held = False
        for k in range(n_legs):
            leg = b.legs[k]
            is_held = is_held or leg["lots"] != 0
            leg["left"], leg["bar_volume"], leg["is_gap"] = 0.0, math.nan, 0
            if held.shape[1] > 0:
                held[k, i] = leg["lots"]
        refresh_bounds(b)
        mark_equity(account, account["equity"])
        if ambiguous > 0.0:
            account["ambiguous_bars"] += 1
            account["ambiguous"] += ambiguous
        if is_held:
            account["bars_held"] += 1
        if keeps:
            row = rows[i]
            row["equity"], row["position_lots"], row["wallet"] = account["equity"], b.legs[0]["lots"], account["wallet"]
            row["fee"], row["slippage"] = account["bar_fee"], account["bar_slippage"]
            row["funding"], row["interest"] = paid[0], paid[1]
            row["maintenance"], row["ambiguous"] = maintenance_now(b), ambiguous
        account["bar_fee"] = account["bar_slippage"] = 0.0
        account["last_ts"] = ts[i]
        account["bar"] += 1
        i += 1
    return i
