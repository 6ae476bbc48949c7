"""The bars of one leg in which nothing happens but its equity; every other bar is left to the engine.

These are most bars of most backtests. In a sweep, runs of them are passed by what was summarised of them once for all
accounts: lowest low, highest high, lowest and highest close. With a stop, a target and funding on a million bars that
takes a tenth off the time of all (13.9 to 12.5 ns per bar and combination on one core); what is left is in the bars
that an order meets, at some 270 ns for a decision and its fill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from research.execution.books import Books, Record, Records
from research.execution.curve import begin_bar, mark_equity
from research.execution.decisions import manage, take_target
from research.execution.margin import maintenance_at
from research.execution.walk import refresh_bounds
from research.kernel import FloatArray, IntArray, constant, inner_kernel, kernel
from research.market.bars import NS_PER_DAY

RUN = 8  # bars that are summarised together

_NO = constant(0)


@inner_kernel
def follow_curve(
    account: Record, close: FloatArray, start: int, count: int, wallet: float, qty: float, base: float, bar: int
) -> None:
    """Take the closing equities of bars without an event into peak and drawdown, as :func:`mark_equity` does.

    Most runs reach neither a new peak nor a new depth, which is asked of all bars together.
    """
    peak, deepest = account["peak"], account["max_drawdown"]
    least = deepest * peak
    found = np.int64(0)
    for k in range(count):
        worth = wallet + qty * (close[start + k] - base)
        found += np.int64(worth >= peak) + np.int64(worth - peak < least)
    if found == 0:
        return
    under_since, longest = account["under_since"], account["longest_drawdown"]
    for k in range(count):
        worth = wallet + qty * (close[start + k] - base)
        if worth >= peak:
            longest = max(longest, bar + k - under_since)
            peak, under_since = worth, bar + k + 1
        elif worth - peak < deepest * peak:
            deepest = (worth - peak) / peak
    account["peak"], account["max_drawdown"] = peak, deepest
    account["under_since"], account["longest_drawdown"] = under_since, longest


@kernel
def summarise_runs(
    open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, funding_rate: FloatArray, out: FloatArray
) -> None:
    """Write what runs of ``RUN`` bars hold together, once for all accounts that pass over them.

    Parameters
    ----------
    open_, high, low, close, funding_rate : (n,) array
        Of one leg.
    out : (5, n // RUN) array
        Lowest low (NaN where a bar is a gap), highest high, lowest and highest close, and 1 where funding is settled.
    """
    for r in range(out.shape[1]):
        lowest, highest, least, most, is_due, is_gap = math.inf, -math.inf, math.inf, -math.inf, 0.0, False
        for i in range(r * RUN, (r + 1) * RUN):
            lowest, highest = min(lowest, low[i]), max(highest, high[i])
            least, most = min(least, close[i]), max(most, close[i])
            is_gap = is_gap or not (open_[i] > 0.0 and low[i] > 0.0 and high[i] > 0.0 and close[i] > 0.0)
            if funding_rate[i] != 0.0:
                is_due = 1.0
        out[0, r], out[1, r], out[2, r], out[3, r], out[4, r] = lowest, highest, least, most, is_due
        if is_gap:
            out[0, r] = math.nan


def summary_of(columns: Mapping[str, FloatArray]) -> FloatArray:
    """Return the summary of one leg's bars: (1, n) or (n,) columns of prices and ``funding_rate``."""
    names = ("open", "high", "low", "close", "funding_rate")
    open_, high, low, close, funding_rate = (columns[name].reshape(-1) for name in names)
    out = np.empty((5, close.shape[0] // RUN))
    summarise_runs(open_, high, low, close, funding_rate, out)
    return out


class Flags(NamedTuple):
    """Which of the optional columns there are."""

    volume: bool
    mark: bool
    path: bool
    unit: bool
    trail_low: bool
    trail_high: bool
    target: bool
    rows: bool


@inner_kernel
def pass_quiet(
    b: Books, ts: IntArray, open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray,
    mark: FloatArray, mark_high: FloatArray, mark_low: FloatArray, mark_close: FloatArray, funding_rate: FloatArray,
    unit: FloatArray, trail_low: FloatArray, trail_high: FloatArray, target: FloatArray,
    rows: Records, daily: FloatArray, summary: FloatArray, n_runs: int, has: Flags, start: int, stop: int,
) -> int:  # fmt: skip
    """Pass over the bars of one leg in which nothing happens but its equity; return the first that is not such a bar.

    Nothing happens where no order is under way, prices stay between the levels next to them, no funding is due on a
    position, and the target is the standing one. All other bars go through the events of
    :func:`research.execution.engine.advance`, which gives the same bits for these.
    """
    account, leg, rule = b.account[0], b.legs[0], b.rules[0]
    if account["is_busy"] != 0 or leg["wish"] != leg["standing"]:
        return start
    lots, qty, wallet = leg["lots"], leg["qty"], account["wallet"]
    if b.settings[0]["can_borrow"] != 0 and (wallet < 0.0 or lots < 0):
        return start
    base = 0.0 if rule["is_spot"] != 0 else leg["entry_price"]
    is_ruined, is_managed = account["is_ruined"] != 0, lots != 0 and rule["is_managed"] != 0
    has_mark, has_path, has_unit = has.mark, has.path, has.unit
    has_target, keeps = has.target, has.rows
    standing, is_blocked = leg["standing"], leg["blocked_side"] != 0
    mark_bottom, mark_top = leg["mark_low_level"], leg["mark_high_level"]
    low_level, high_level = max(leg["low_level"], mark_bottom), min(leg["high_level"], mark_top)
    bar, equity = account["bar"], account["equity"]
    day_end, step_ns = (account["day"] + 1) * NS_PER_DAY, b.settings[0]["step_ns"]
    runs = n_runs > 0 and not (has_mark or has_path or is_managed or keeps or is_blocked or is_ruined)
    held, basis_price = (qty, base) if lots != 0 else (0.0, 0.0)
    i, basis, last_basis = start, 0.0, 0.0
    peak, least_worth = account["peak"], account["max_drawdown"] * account["peak"]
    while i < stop:
        if runs and i % RUN == 0:
            r, begin = i // RUN, i
            while i + RUN <= stop and ts[i + RUN - 1] < day_end:
                if not (summary[r] > low_level and summary[n_runs + r] < high_level):
                    break
                if lots != 0 and summary[4 * n_runs + r] != 0.0:
                    break
                if has_target:
                    found = np.int64(0)
                    for k in range(RUN):
                        t = target[i + k]
                        found += np.int64((t == t) & (t != standing))
                    if found != 0:
                        break
                one = wallet + held * (summary[2 * n_runs + r] - basis_price)
                other = wallet + held * (summary[3 * n_runs + r] - basis_price)
                if not (min(one, other) > 0.0):
                    break
                if max(one, other) >= peak or min(one, other) - peak < least_worth:
                    follow_curve(account, close, i, RUN, wallet, held, basis_price, bar)
                    peak, least_worth = account["peak"], account["max_drawdown"] * account["peak"]
                i, bar, r = i + RUN, bar + RUN, r + 1
            if i > begin:
                equity = wallet + held * (close[i - 1] - basis_price)
            if i >= stop:
                break
        lo, hi, c = low[i], high[i], close[i]
        if not (lo > low_level and hi < high_level and c > 0.0 and open_[i] > 0.0):
            break
        basis = 0.0
        if has_mark:
            m = mark[i]
            if not math.isnan(m):
                basis = m - open_[i]
                if m <= mark_bottom or m >= mark_top or lo + basis <= mark_bottom or hi + basis >= mark_top:
                    break
        if has_path:
            if mark_low[i] <= mark_bottom or mark_high[i] >= mark_top:
                break
            if mark_close[i] <= mark_bottom or mark_close[i] >= mark_top:
                break
        if lots != 0 and funding_rate[i] != 0.0:
            break
        decides = False
        if has_target:
            t = target[i]
            decides = t == t and (t != standing or is_blocked)
        worth = wallet + qty * (c - base) if lots != 0 else wallet
        if worth <= 0.0 and not is_ruined:
            break
        if ts[i] >= day_end:
            account["equity"], account["bar"] = equity, bar
            begin_bar(account, ts[i], daily)
            day_end = (account["day"] + 1) * NS_PER_DAY
        equity = worth
        has_sent = False
        if is_managed:
            if has_unit and not math.isnan(unit[i]):
                leg["unit"] = unit[i]
            account["bar"], account["equity"] = bar, equity
            below = trail_low[i] if has.trail_low else math.nan
            above = trail_high[i] if has.trail_high else math.nan
            stood = leg["stop"]
            manage(b, _NO, ts[i] + step_ns, hi, lo, c, below, above)
            has_sent = leg["leaving_id"] != 0
            if has_sent or leg["stop"] != stood:
                refresh_bounds(b)
                mark_bottom, mark_top = leg["mark_low_level"], leg["mark_high_level"]
                low_level, high_level = max(leg["low_level"], mark_bottom), min(leg["high_level"], mark_top)
        account["bar"] = bar
        mark_equity(account, equity)
        peak, least_worth = account["peak"], account["max_drawdown"] * account["peak"]
        if keeps:
            row = rows[i]
            mark_now = c + basis
            if has_path and not math.isnan(mark_high[i] + mark_low[i] + mark_close[i]):
                mark_now = mark_close[i]
            row["equity"], row["position_lots"], row["wallet"] = equity, lots, wallet
            row["fee"] = row["slippage"] = row["funding"] = row["interest"] = row["ambiguous"] = 0.0
            row["maintenance"] = 0.0
            if lots != 0 and rule["is_spot"] == 0:
                row["maintenance"] = maintenance_at(leg, rule, b.tiers, 0, mark_now)
        last_basis = basis
        if decides:
            leg["last_close"] = leg["now"] = c
            j = i
            while has_unit and j >= start and math.isnan(unit[j]):
                j -= 1
            if has_unit and j >= start:
                leg["unit"] = unit[j]
            account["equity"] = equity
            take_target(b, _NO, ts[i] + step_ns, target[i])
            refresh_bounds(b)
        bar += 1
        i += 1
        if has_sent or decides:
            break
    if i > start:
        account["bar"], account["equity"] = bar, equity
        account["last_ts"] = ts[i - 1]
        if lots != 0:
            account["bars_held"] += i - start
        leg["last_close"] = leg["now"] = close[i - 1]
        leg["mark_now"] = close[i - 1] + last_basis
        if has_path and not math.isnan(mark_high[i - 1] + mark_low[i - 1] + mark_close[i - 1]):
            leg["mark_now"] = mark_close[i - 1]
        if has_unit and not is_managed:
            j = i - 1
            while j >= start and math.isnan(unit[j]):
                j -= 1
            if j >= start:
                leg["unit"] = unit[j]
    return i
