"""Paths of replayed executions: one account of one leg, moved from event to event.

Events are orders that arrive, settlements of funding, ends of days and decisions; bars without one are not visited. It
gives what the account of :mod:`research.execution` gives for targets without exits, and stops at a liquidation.
"""

from __future__ import annotations

import math

import numpy as np

from research.kernel import FloatArray, IntArray, borrowed, inlined_kernel, inner_kernel, kernel
from research.tables import column, table
from research.validation.replayed_draws import START, key_of, uniform
from research.validation.replayed_orders import (
    base_price,
    decide,
    is_lost_before,
    is_met,
    is_near,
    meet_open,
    refresh_level,
)
from research.validation.replayed_records import IDLE, PATH, UNDER_WAY, Market, Records, Settings, View


@inlined_kernel
def _mark(s, equity):  # type: ignore[no-untyped-def]
    """Take an equity into peak, depth and lowest."""
    if equity >= s["peak"]:
        s["peak"] = equity
    elif equity - s["peak"] < s["deepest"] * s["peak"]:
        s["deepest"] = equity / s["peak"] - 1.0
    if equity < s["lowest"]:
        s["lowest"] = equity


@kernel
def replay(
    market: Market, settings: Settings, seed: int, first_path: int, fan_days: IntArray, out: FloatArray,
    fan: FloatArray, events: Records,
) -> int:  # fmt: skip
    """Replay paths ``first_path`` and on, one for each row of ``out``.

    Parameters
    ----------
    market : Market
    settings : Settings
    seed, first_path : int
        At least 0.
    fan_days : (m,) array of int64
        Days after whose end the fan is marked, increasing; 0 is the start.
    out : (p, 17) array
        Filled with ``PATH_STATISTICS`` and ``FIGURES``.
    fan : (q, m) array
        Filled for the first q paths of these.
    events : array of EVENTS
        Filled with what the last path did, as far as it reaches.

    Returns
    -------
    int
        Rows of ``events`` filled.
    """
    state_ = np.zeros(1, PATH)
    state = table(state_)
    view = View(
        column(market.open), column(market.close), column(market.mark), column(market.low), column(market.high),
        column(market.volume), column(market.unit), column(market.day_low), column(market.day_high),
        table(market.rules), table(market.tiers), borrowed(market.tiers_from), market.low.shape[0] > 0,
        market.volume.shape[0] > 0, market.unit.shape[0] > 0,
    )  # fmt: skip
    daily, marks = np.empty(market.day_end.shape[0]), np.empty(fan_days.shape[0])
    for path in range(out.shape[0]):
        _replay_one(
            state[0], view, settings, key_of(seed, first_path + path),
            borrowed(market.decision_bar), borrowed(market.decision_target), borrowed(market.funding_bar),
            borrowed(market.funding_price), borrowed(market.funding_rate), borrowed(market.day_end),
            borrowed(market.rules_from), fan_days, daily, marks, borrowed(events), out[path],
        )  # fmt: skip
        if path < fan.shape[0]:
            fan[path] = marks
    return state_[0]["logged"]


@inlined_kernel
def _begin(s, decision_bar, settings, key):  # type: ignore[no-untyped-def]
    """Open the account of a path; return the first decision that it takes."""
    s["wallet"] = s["peak"] = s["lowest"] = settings.cash
    s["qty"] = s["entry"] = s["standing"] = s["wish"] = s["deepest"] = s["open_fee"] = s["open_funding"] = 0.0
    s["won"] = s["lost"] = s["fees"] = s["funding"] = s["slippage"] = 0.0
    s["lots"] = s["stage"] = s["segment"] = s["since"] = s["start"] = s["decided"] = s["given"] = s["given_then"] = 0
    s["fills"] = s["trades"] = s["orders"] = s["missed"] = s["refused"] = s["logged"] = 0
    s["leverage"], s["level"], s["multiple"] = 1.0, math.nan, 1.0
    k = 0
    if settings.starts > 1:
        k = min(int(uniform(key, START) * settings.starts), settings.starts - 1)
        s["start"] = decision_bar[k]
    return k


@inner_kernel
def _replay_one(  # type: ignore[no-untyped-def]
    s,
    market,
    settings,
    key,
    decision_bar,
    decision_target,
    funding_bar,
    funding_price,
    funding_rate,
    day_end,
    rules_from,
    fan_days,
    daily,
    marks,
    events,
    out,
):
    """Walk one path from event to event and write its figures."""
    n_decisions, n_fundings = decision_bar.shape[0], funding_bar.shape[0]
    k = _begin(s, decision_bar, settings, key)
    day = np.searchsorted(day_end, s["start"])
    first_day, f, mark = day, 0, 0
    under = run = longest = 0
    equity = settings.cash
    while mark < fan_days.shape[0] and fan_days[mark] <= day:
        marks[mark] = settings.cash
        mark += 1
    is_lost = False
    while day < day_end.shape[0]:
        t = day_end[day]
        if k < n_decisions and decision_bar[k] < t:
            t = decision_bar[k]
        if s["stage"] != IDLE and s["arrival"] < t:
            t = s["arrival"]
        is_funded = False
        if s["lots"] != 0 and f < n_fundings and funding_bar[f] <= t:
            t, is_funded = funding_bar[f], True
        while s["segment"] + 1 < rules_from.shape[0] and rules_from[s["segment"] + 1] <= t:
            # Terms change between events: what was held until then is judged by the old ones.
            begin = rules_from[s["segment"] + 1]
            if is_near(s, market, settings.is_cross, day):
                is_lost = is_lost or is_lost_before(s, market, settings.is_cross, begin)
            s["since"] = max(s["since"], begin)
            s["segment"] += 1
            refresh_level(s, market, settings.is_cross)
        if is_funded:
            if is_near(s, market, settings.is_cross, day):
                is_lost = is_lost or is_lost_before(s, market, settings.is_cross, t)
            amount = -s["qty"] * funding_price[f] * funding_rate[f]
            s["wallet"] += amount
            s["open_funding"] += amount
            s["funding"] += amount
            s["since"] = t
            f += 1
        is_filled = False
        if s["stage"] != IDLE and s["arrival"] == t:
            if is_near(s, market, settings.is_cross, day):
                is_lost = is_lost or is_lost_before(s, market, settings.is_cross, t)
                is_lost = is_lost or is_met(s, market, settings.is_cross, market.mark[t])
            fills = s["fills"]
            meet_open(s, market, settings, key, t, events)
            is_filled = s["fills"] > fills
            if is_filled:
                s["since"] = t
                while f < n_fundings and funding_bar[f] <= t:  # settled before this fill, or while flat
                    f += 1
        is_end = day_end[day] == t
        if is_end or is_filled:
            equity = s["wallet"] + s["qty"] * (market.close[t] - base_price(market.rules[s["segment"]], s["entry"]))
            _mark(s, equity)
        if is_end:
            if is_near(s, market, settings.is_cross, day):
                is_lost = is_lost or is_lost_before(s, market, settings.is_cross, t + 1)
            s["since"] = t + 1
            daily[day] = equity
            day += 1
            under, run = (under + 1, run + 1) if equity < s["peak"] else (under, 0)
            longest = max(longest, run)
            if mark < fan_days.shape[0] and fan_days[mark] == day:
                marks[mark] = equity
                mark += 1
        if is_lost:
            break
        if k < n_decisions and decision_bar[k] == t:
            s["wish"], s["given"] = decision_target[k], t
            k += 1
        if s["wish"] != s["standing"] and s["stage"] != UNDER_WAY:
            decide(s, market, settings, key, t, events)
    if is_lost:
        out[:] = math.nan
        out[-1] = 1.0
        marks[mark:] = math.nan
        return
    _write(s, settings, daily[first_day:day], under, longest, out)


@inner_kernel
def _write(s, settings, daily, under, longest, out):  # type: ignore[no-untyped-def]
    """Write the figures of a path: its daily returns begin in the day of its first decision."""
    cash, n = settings.cash, daily.shape[0]
    before, total, is_constant, first = cash, 0.0, True, 0.0
    for i in range(n):
        equity = daily[i]
        daily[i] = equity / before - 1.0
        before = equity
        if i == 0:
            first = daily[0]
        is_constant = is_constant and daily[i] == first
        total += daily[i]
    mean, squares = total / n, 0.0
    for i in range(n):
        squares += (daily[i] - mean) ** 2
    out[0] = before / cash - 1.0
    out[1] = math.nan if n < 2 or is_constant else mean / math.sqrt(squares / (n - 1))
    out[2] = math.nan
    if s["lost"] > 0.0:
        out[2] = s["won"] / s["lost"]
    elif s["won"] > 0.0:
        out[2] = math.inf
    out[3], out[4] = s["deepest"], s["lowest"] / cash - 1.0
    out[5], out[6] = under / n, longest
    out[7], out[8], out[9], out[10], out[11] = s["fees"], s["funding"], s["slippage"], s["fills"], s["trades"]
    out[12], out[13], out[14], out[15], out[16] = s["orders"], s["missed"], s["refused"], before, 0.0
