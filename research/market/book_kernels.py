"""Kernels that turn rows of an order book into bars; :mod:`research.market.book_bars` is their face."""

from __future__ import annotations

import math

import numpy as np

from research.kernel import kernel
from research.market.book_levels import find_wall, set_level, sum_of_best
from research.market.event_bars import BAR, LAST, MAX_TICKS, MAX_VALUE, TOLD

# Slots of the int64 state after BAR, LAST and TOLD: the update whose rows are coming in (is there one, its id, its
# time, is it a snapshot, is it taken), ...
_PENDING, _ID, _AT, _SNAPSHOT, _USED = range(3, 8)
# ... the book (was there a snapshot, id of the newest update taken, levels), ...
_SYNCED, _APPLIED, BIDS, ASKS = range(8, 12)
# ... the quote that the newest settled update left (is there one, was there one since the bar's open, time up to which
# its spread is counted, ticks), the walls (key of the bids', of the asks'; since when each), and what went wrong.
_QUOTED, _WHOLE, _SINCE, _BID, _ASK = range(12, 17)
_WALL_KEY, _WALL_SINCE = 17, 19
SKIPPED, CROSSED, DROPPED = range(21, 24)
MARKS = 24  # then the keys of the bids and of the asks
# Slots of the float64 state, then the sizes of the bids and of the asks; the last is the bids' wall, then the asks'.
_BID_SIZE, _ASK_SIZE, _SPREAD_TIME, _QUOTED_TIME, _FLOW, _WALL_SIZE = range(6)
STATE_SIZE = 7

_TIME, _UPDATE, _KIND, _SIDE, _PRICE, _TICK, _QTY = range(7)
RULES = {
    _TIME: ("ts", "must not be earlier than the row before it, nor in a bar that is closed; ns"),
    _UPDATE: ("update_id", "must be a whole number of at least 0"),
    _KIND: ("is_snapshot", "must be true or false"),
    _SIDE: ("side", "must be 1 (bid) or -1 (ask)"),
    _PRICE: ("price", "must be at least one tick and less than 2**52 ticks"),
    _TICK: ("price", "must be a multiple of tick_size"),
    _QTY: ("qty", "must be at least 0 and at most 1e150"),
}


@kernel
def check_book_rows(ts, update_id, is_snapshot, side, price, qty, per_tick, last):
    """Return the first row that breaks a rule and which one it is: (row, reason), (-1, 0) where there is none."""
    for i in range(ts.shape[0]):
        if ts[i] < last:
            return i, _TIME
        last = ts[i]
        if update_id[i] < 0:
            return i, _UPDATE
        if is_snapshot[i] < 0:
            return i, _KIND
        if side[i] != 1 and side[i] != -1:
            return i, _SIDE
        ticks = price[i] * per_tick
        if not 0.5 <= ticks < MAX_TICKS:
            return i, _PRICE
        # A decimal price is off by half a unit in its last place, the product by one more.
        if abs(ticks - math.floor(ticks + 0.5)) > 1e-6 + 1e-15 * ticks:
            return i, _TICK
        if not 0.0 <= qty[i] <= MAX_VALUE:
            return i, _QTY
    return -1, 0


@kernel
def count_spread(time, marks, state):
    """Count the spread of the standing quote up to a time."""
    if marks[_QUOTED]:
        lasted = time - marks[_SINCE]
        state[_SPREAD_TIME] += float(marks[_ASK] - marks[_BID]) * lasted
        state[_QUOTED_TIME] += lasted
    marks[_SINCE] = time


@kernel
def follow_wall(s, keys, sizes, count, levels, factor, marks, state):
    """Note the wall of a side (0 bids, 1 asks), and since when its price holds it without a break."""
    at = find_wall(sizes, count, levels, factor)
    if at < 0:
        marks[_WALL_KEY + s] = 0
        state[_WALL_SIZE + s] = 0.0
        return
    if keys[at] != marks[_WALL_KEY + s]:
        marks[_WALL_KEY + s] = keys[at]
        marks[_WALL_SINCE + s] = marks[_AT]
    state[_WALL_SIZE + s] = sizes[at]


@kernel
def settle_update(step, wall_levels, wall_factor, marks, bids, asks, state, bid_sizes, ask_sizes):
    r"""Look at the book after the last row of an update.

    .. math::
        e = 1_{P^b \ge P^b_-} q^b - 1_{P^b \le P^b_-} q^b_- - 1_{P^a \le P^a_-} q^a + 1_{P^a \ge P^a_-} q^a_-

    with the best prices P and sizes q after the update and, marked by a minus, before it.
    """
    marks[_PENDING] = 0
    if not marks[_USED]:
        return
    count_spread(marks[_AT], marks, state)
    before = marks[_QUOTED]
    if marks[BIDS] and marks[ASKS]:
        bid, ask = bids[marks[BIDS] - 1], -asks[marks[ASKS] - 1]
        if bid < ask:
            bid_size, ask_size = bid_sizes[marks[BIDS] - 1], ask_sizes[marks[ASKS] - 1]
            if before:
                flow = 0.0
                if bid >= marks[_BID]:
                    flow += bid_size
                if bid <= marks[_BID]:
                    flow -= state[_BID_SIZE]
                if ask <= marks[_ASK]:
                    flow -= ask_size
                if ask >= marks[_ASK]:
                    flow += state[_ASK_SIZE]
                state[_FLOW] += flow
            elif marks[_AT] == (marks[BAR] - 2) * step:
                marks[_WHOLE] = 1
            marks[_QUOTED], marks[_BID], marks[_ASK] = 1, bid, ask
            state[_BID_SIZE], state[_ASK_SIZE] = bid_size, ask_size
            follow_wall(0, bids, bid_sizes, marks[BIDS], wall_levels, wall_factor, marks, state)
            follow_wall(1, asks, ask_sizes, marks[ASKS], wall_levels, wall_factor, marks, state)
            return
        marks[CROSSED] += 1
        marks[_SYNCED] = marks[BIDS] = marks[ASKS] = 0
    marks[_QUOTED] = marks[_WHOLE] = 0
    marks[_WALL_KEY] = marks[_WALL_KEY + 1] = 0
    state[_WALL_SIZE] = state[_WALL_SIZE + 1] = 0.0


@kernel
def close_book_bar(step, depths, numerator, denominator, marks, state, bid_sizes, ask_sizes, column):
    """Write the bar under way to ``column`` and begin the next; return whether it is told."""
    end = (marks[BAR] - 1) * step
    column[0] = marks[BAR] - 2
    if marks[_QUOTED]:
        count_spread(end, marks, state)
        bid, ask = marks[_BID], marks[_ASK]
        column[1] = bid * numerator / denominator
        column[2] = ask * numerator / denominator
        column[3] = state[_BID_SIZE]
        column[4] = state[_ASK_SIZE]
        row = 5
        for depth in depths:
            column[row] = sum_of_best(bid_sizes, marks[BIDS], depth)
            column[row + 1] = sum_of_best(ask_sizes, marks[ASKS], depth)
            row += 2
        column[row] = state[_SPREAD_TIME] / state[_QUOTED_TIME] * numerator / denominator
        column[row + 1] = state[_FLOW] if marks[_WHOLE] else np.nan
        row += 2
        for s in range(2):
            size = state[_WALL_SIZE + s]
            column[row + s] = size
            column[row + 2 + s] = abs(2 * abs(marks[_WALL_KEY + s]) - bid - ask) / (bid + ask) if size > 0.0 else 0.0
            column[row + 4 + s] = (end - marks[_WALL_SINCE + s]) / 1e9 if size > 0.0 else 0.0
    else:
        column[1:] = np.nan
    marks[BAR] += 1
    marks[_WHOLE] = marks[_QUOTED]
    state[_SPREAD_TIME] = state[_QUOTED_TIME] = state[_FLOW] = 0.0
    told = marks[TOLD]
    marks[TOLD] = 1
    return told


@kernel
def aggregate_book(
    ts, update_id, is_snapshot, side, price, qty, until, step, depths, wall_levels, wall_factor, numerator,
    denominator, capacity, marks, state, out,
):  # fmt: skip
    """Advance the book and the bar under way by the rows of a chunk.

    An update is a run of rows that agree in time, id and kind. It is looked at once the next one begins, or its bar
    closes: a chunk may end within it. Deltas before the first snapshot, after a crossed book, or with an id that is
    not above the newest one taken are skipped.

    Parameters
    ----------
    ts : (n,) array of int64
        Times, ns, that do not decrease; checked by :func:`check_book_rows` as the rest is.
    update_id : (n,) array of int64
        Ids.
    is_snapshot : (n,) array of int8
        1 in rows of a snapshot: it replaces the book.
    side : (n,) array of int8
        +1 bid, -1 ask.
    price, qty : (n,) arrays of float64
        Level in quote, its new size in base; 0 removes it.
    until : int
        Time that the clock has come to, ns; -1: no later than the rows.
    step : int
        Length of a bar, ns.
    depths : (k,) array of int64
        Levels that are summed.
    wall_levels : int
        Best levels of a side among which a wall is sought.
    wall_factor : float
        Times the average of their sizes that it has at least.
    numerator, denominator : float
        Of the tick size.
    capacity : int
        Levels held per side.
    marks : (24 + 2 capacity,) array of int64
        State that is whole; updated in place.
    state : (7 + 2 capacity,) array of float64
        State that is not; updated in place.
    out : (13 + 2k, m) array of float64
        Number of each bar that closes (its open time divided by ``step``), then the columns of
        :func:`~research.market.book_bars.book_columns`.

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
    bids, asks = marks[MARKS : MARKS + capacity], marks[MARKS + capacity :]
    bid_sizes, ask_sizes = state[STATE_SIZE : STATE_SIZE + capacity], state[STATE_SIZE + capacity :]
    per_tick = denominator / numerator
    reached = until // step * step
    for i in range(n + 1):
        # The last round has no row: it only closes the bars that the clock has left behind.
        now = ts[i] if i < n else max(marks[LAST], reached)
        begins = i < n and not (
            marks[_PENDING] and update_id[i] == marks[_ID] and now == marks[_AT] and is_snapshot[i] == marks[_SNAPSHOT]
        )
        if marks[_PENDING] and (begins or now >= end):
            settle_update(step, wall_levels, wall_factor, marks, bids, asks, state, bid_sizes, ask_sizes)
        while now >= end:
            closed += close_book_bar(
                step, depths, numerator, denominator, marks, state, bid_sizes, ask_sizes, out[:, closed]
            )
            end += step
        marks[LAST] = now
        if i == n:
            break
        if begins:
            marks[_PENDING], marks[_USED], marks[_AT] = 1, 1, now
            marks[_ID], marks[_SNAPSHOT] = update_id[i], is_snapshot[i]
            if is_snapshot[i]:
                marks[_SYNCED], marks[BIDS], marks[ASKS] = 1, 0, 0
            elif not marks[_SYNCED] or update_id[i] <= marks[_APPLIED]:
                marks[_USED] = 0
                marks[SKIPPED] += 1
            if marks[_USED]:
                marks[_APPLIED] = update_id[i]
        if marks[_USED]:
            tick = np.int64(price[i] * per_tick + 0.5)
            if side[i] > 0:
                marks[BIDS], dropped = set_level(bids, bid_sizes, marks[BIDS], tick, qty[i])
            else:
                marks[ASKS], dropped = set_level(asks, ask_sizes, marks[ASKS], -tick, qty[i])
            marks[DROPPED] += dropped
    return closed
