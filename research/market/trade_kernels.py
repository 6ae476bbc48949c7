"""Kernels that turn trades into bars; :mod:`research.market.trade_bars` is their face."""

from __future__ import annotations

import math

import numpy as np

from research.kernel import kernel
from research.market.event_bars import BAR, LAST, MAX_TICKS, MAX_VALUE, TOLD
from research.market.trade_footprint import LEVELS, MASK, clear_levels, held_level, read_footprint

COLUMNS = (
    "open", "high", "low", "close", "volume", "turnover", "trade_count", "taker_buy_volume", "buy_count", "max_trade",
    "log_size_sum", "log_size_square_sum", "large_buy_volume", "large_sell_volume", "large_count", "footprint_poc",
    "footprint_high_delta", "footprint_low_delta", "footprint_buy_imbalances", "footprint_sell_imbalances",
)  # fmt: skip
COUNTS = ("trade_count", "buy_count", "large_count", "footprint_buy_imbalances", "footprint_sell_imbalances")

# Slots of the int64 state after BAR, LAST and TOLD.
_TRADES, _BUYS, _LARGE, _LOW_LEVEL, _HIGH_LEVEL, _CLOSE_LEVEL, CLAMPED, REPEATED = range(3, 11)
LAST_TRADE, LAST_SIDE = range(11, 13)  # time and side of the trade before
MARKS = 13
# Slots of the float64 state: the bar under way, the trade before, then the levels bought and sold.
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME, _TURNOVER, _BOUGHT, _MAX = range(8)
_LOG, _LOG_SQUARE, _LARGE_BUY, _LARGE_SELL, LAST_PRICE, LAST_QTY = range(8, 14)
_LEVELS = 14
STATE_SIZE = _LEVELS + 2 * LEVELS

_TIME, _PRICE, _TICKS, _QTY, _SIDE = range(5)
RULES = {
    _TIME: ("ts", "must not be earlier than the trade before it, nor in a bar that is closed; ns"),
    _PRICE: ("price", "must be above 0 and at most 1e150"),
    _TICKS: ("price", "must be at least half a tick and less than 2**52 ticks"),
    _QTY: ("qty", "must be above 0 and at most 1e150"),
    _SIDE: ("side", "must be 1 (the taker bought) or -1 (the taker sold)"),
}


@kernel
def check_trades(ts, price, qty, side, per_tick, last):
    """Return the first trade that breaks a rule and which one it is: (row, reason), (-1, 0) where there is none."""
    for i in range(ts.shape[0]):
        if ts[i] < last:
            return i, _TIME
        last = ts[i]
        if not 0.0 < price[i] <= MAX_VALUE:
            return i, _PRICE
        if not 0.5 <= price[i] * per_tick < MAX_TICKS:
            return i, _TICKS
        if not 0.0 < qty[i] <= MAX_VALUE:
            return i, _QTY
        if side[i] != 1 and side[i] != -1:
            return i, _SIDE
    return -1, 0


@kernel
def close_trade_bar(level_ticks, numerator, denominator, factor, marks, state, column):
    """Write the bar under way to ``column`` and begin the next; return whether it is told."""
    bought, sold = state[_LEVELS : _LEVELS + LEVELS], state[_LEVELS + LEVELS :]
    column[0] = marks[BAR] - 2
    if marks[_TRADES] == 0:
        column[1:5] = np.nan
        column[5:] = 0.0
        column[16] = np.nan
    else:
        found = np.empty(5)
        low, high = marks[_LOW_LEVEL], marks[_HIGH_LEVEL]
        read_footprint(low, high, marks[_CLOSE_LEVEL], factor, bought, sold, found)
        clear_levels(low, high, bought, sold)
        column[1:7] = state[_OPEN:_BOUGHT]
        column[7] = marks[_TRADES]
        column[8] = state[_BOUGHT]
        column[9] = marks[_BUYS]
        column[10:15] = state[_MAX : _LARGE_SELL + 1]
        column[15] = marks[_LARGE]
        # Twice the middle of the level's ticks is whole.
        column[16] = (2.0 * found[0] * level_ticks + level_ticks - 1) * numerator / (2.0 * denominator)
        column[17:21] = found[1:]
    marks[BAR] += 1
    marks[_TRADES : _LARGE + 1] = 0
    state[:LAST_PRICE] = 0.0
    told = marks[TOLD]
    marks[TOLD] = 1
    return told


@kernel
def aggregate_trades(
    ts, price, qty, side, until, step, level_ticks, numerator, denominator, large_quote, factor, marks, state, out
):
    """Advance the bar under way by the trades of a chunk.

    Parameters
    ----------
    ts : (n,) array of int64
        Times, ns, that do not decrease; checked by :func:`check_trades` as the rest is.
    price, qty : (n,) arrays of float64
        In quote and in base.
    side : (n,) array of int8
        +1 where the taker bought, -1 where the taker sold.
    until : int
        Time that the clock has come to, ns; -1: no later than the trades.
    step : int
        Length of a bar, ns.
    level_ticks : int
        Ticks per footprint level.
    numerator, denominator : float
        Of the tick size.
    large_quote : float
        Price times quantity from which on a trade is large, in quote.
    factor : float
        Of an imbalance.
    marks : (13,) array of int64
        State that is whole; updated in place.
    state : (8206,) array of float64
        State that is not; updated in place.
    out : (21, m) array of float64
        Number of each bar that closes (its open time divided by ``step``), then :data:`COLUMNS`.

    Returns
    -------
    int
        Bars closed.
    """
    n, closed = ts.shape[0], 0
    if marks[BAR] == 0:
        if n == 0:
            return 0
        marks[BAR] = -(-ts[0] // step) + 1
    end = (marks[BAR] - 1) * step
    bought, sold = state[_LEVELS : _LEVELS + LEVELS], state[_LEVELS + LEVELS :]
    per_tick = denominator / numerator
    for i in range(n):
        while ts[i] >= end:
            closed += close_trade_bar(level_ticks, numerator, denominator, factor, marks, state, out[:, closed])
            end += step
        p, q = price[i], qty[i]
        quote, size = p * q, math.log(q)
        level = np.int64(p * per_tick + 0.5)
        if level_ticks > 1:
            level //= level_ticks
        if marks[_TRADES] == 0:
            state[_OPEN] = state[_HIGH] = state[_LOW] = p
            marks[_LOW_LEVEL] = marks[_HIGH_LEVEL] = level
        else:
            held = held_level(level, marks[_LOW_LEVEL], marks[_HIGH_LEVEL])
            marks[CLAMPED] += held != level
            level = held
            state[_HIGH] = max(state[_HIGH], p)
            state[_LOW] = min(state[_LOW], p)
            marks[_LOW_LEVEL] = min(marks[_LOW_LEVEL], level)
            marks[_HIGH_LEVEL] = max(marks[_HIGH_LEVEL], level)
        marks[_TRADES] += 1
        marks[_CLOSE_LEVEL] = level
        state[_CLOSE] = p
        state[_VOLUME] += q
        state[_TURNOVER] += quote
        state[_MAX] = max(state[_MAX], q)
        state[_LOG] += size
        state[_LOG_SQUARE] += size * size
        if side[i] > 0:
            state[_BOUGHT] += q
            marks[_BUYS] += 1
            bought[level & MASK] += q
        else:
            sold[level & MASK] += q
        if quote >= large_quote:
            marks[_LARGE] += 1
            state[_LARGE_BUY if side[i] > 0 else _LARGE_SELL] += q
    if n:
        marks[LAST] = marks[LAST_TRADE] = ts[n - 1]
        marks[LAST_SIDE] = side[n - 1]
        state[LAST_PRICE], state[LAST_QTY] = price[n - 1], qty[n - 1]
    reached = until // step * step
    while end <= reached:
        closed += close_trade_bar(level_ticks, numerator, denominator, factor, marks, state, out[:, closed])
        end += step
    marks[LAST] = max(marks[LAST], reached)
    return closed
