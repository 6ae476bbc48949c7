"""Nearest levels of confirmed swings around the close. Registered in the catalogue as ``support_resistance``."""

from __future__ import annotations

import math

from research.features.structure.recent_range import mean_range, range_size, take_range
from research.features.structure.swing_points import OWN, SEEN, follow_swings, swing_rings_size
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

SLOTS = 64
COUNT, OLDEST_BAR, BELOW = OWN, OWN + 1, OWN + 2
SUPPORT, SUPPORT_TOUCHES, RESISTANCE, RESISTANCE_TOUCHES = OWN + 3, OWN + 4, OWN + 5, OWN + 6
LEVELS = OWN + 7
WIDTHS = LEVELS + SLOTS
BARS = WIDTHS + SLOTS
RANGES = BARS + SLOTS
NO_RESISTANCE = 1e300


@kernel
def support_resistance(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    length: int,
    tolerance: float,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the nearest support and resistance among the levels of confirmed swings, and their touches.

    .. math::

        S_t = \max \{ v_k : v_k \le c_t \}, \qquad R_t = \min \{ v_k : v_k > c_t \}, \qquad
        touches(v) = \#\{ k : |v_k - v| \le tolerance \cdot A(v) \}

    over the levels :math:`v_k` of swing highs and swing lows alike (a resistance that was broken supports), with
    :math:`A(v)` the mean of the ``length`` true ranges up to the bar that confirmed the swing: a level is a zone whose
    width is fixed when it forms.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    left : int
        Bars before a swing, all of which it has to exceed: a swing high with its high, a swing low with its low.
    right : int
        Bars after a swing, none of which may exceed it. It is confirmed, and known, that many bars late.
    length : int
        True ranges in the mean.
    tolerance : float
        Half the width of a zone, in mean true ranges.
    max_age : int
        A swing more bars old than this is dropped, and so are those of the oldest bar when 64 are kept and one comes.
    state : (212 + length + 2 (left + right + 1),) array
        As ``follow_swings``; levels kept; bar of the oldest; how many lie at or below the close looked at last; support
        (0: none), its touches, resistance (1e300: none), its touches; levels from the lowest to the highest, their half
        widths and bars; then as ``take_range``.
    out : (6, n) array
        NaN until ``left + right + 1`` bars were seen.

        ``support``, ``resistance``: levels, the close where there is none.
        ``support_distance``, ``resistance_distance``: distances as a fraction of the close, not negative; 0 without.
        ``support_touches``, ``resistance_touches``: swings in the zone, that of the level among them; 0 without.
    """
    ring = RANGES + 3 + length
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        for j in range(6):
            out[j, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        take_range(state, RANGES, length, top, bottom, price)
        peak, trough = follow_swings(state, ring, left, right, max_age, top, bottom)
        seen = state[SEEN]
        changed = peak > 0.0 or trough > 0.0
        if changed:
            width = tolerance * mean_range(state, RANGES, length)
            if peak > 0.0:
                _keep(state, peak, width, seen - right)
            if trough > 0.0:
                _keep(state, trough, width, seen - right)
        if state[COUNT] > 0.0 and state[OLDEST_BAR] < seen - max_age:
            _drop(state, seen - max_age)
            changed = True
        if seen < left + right + 1:
            continue
        if changed or price < state[SUPPORT] or price >= state[RESISTANCE]:
            _look_around(state, price)
        support, resistance = state[SUPPORT], state[RESISTANCE]
        out[0, i] = support if support > 0.0 else price
        out[1, i] = resistance if resistance < NO_RESISTANCE else price
        out[2, i], out[3, i] = (price - out[0, i]) / price, (out[1, i] - price) / price
        out[4, i], out[5, i] = state[SUPPORT_TOUCHES], state[RESISTANCE_TOUCHES]


@kernel
def _keep(state: FloatArray, level: float, width: float, bar: float) -> None:
    # Levels lie in the order of their height.
    if state[COUNT] == SLOTS:
        _drop(state, state[OLDEST_BAR] + 0.5)
    count = int(state[COUNT])
    if count == 0:
        state[OLDEST_BAR] = bar
    at = count
    while at > 0 and state[LEVELS + at - 1] > level:
        state[LEVELS + at], state[WIDTHS + at] = state[LEVELS + at - 1], state[WIDTHS + at - 1]
        state[BARS + at] = state[BARS + at - 1]
        at -= 1
    state[LEVELS + at], state[WIDTHS + at], state[BARS + at] = level, width, bar
    state[COUNT] = count + 1.0


@kernel
def _drop(state: FloatArray, oldest: float) -> None:
    kept, left_oldest = 0, 0.0
    for j in range(int(state[COUNT])):
        bar = state[BARS + j]
        if bar >= oldest:
            state[LEVELS + kept], state[WIDTHS + kept], state[BARS + kept] = state[LEVELS + j], state[WIDTHS + j], bar
            left_oldest = bar if kept == 0 else min(bar, left_oldest)
            kept += 1
    state[COUNT], state[OLDEST_BAR] = kept, left_oldest


@kernel
def _look_around(state: FloatArray, price: float) -> None:
    count = int(state[COUNT])
    below = min(int(state[BELOW]), count)
    while below < count and state[LEVELS + below] <= price:
        below += 1
    while below > 0 and state[LEVELS + below - 1] > price:
        below -= 1
    state[BELOW] = below
    state[SUPPORT], state[SUPPORT_TOUCHES] = 0.0, 0.0
    if below > 0:
        state[SUPPORT], state[SUPPORT_TOUCHES] = state[LEVELS + below - 1], _touches(state, count, below - 1, -1)
    state[RESISTANCE], state[RESISTANCE_TOUCHES] = NO_RESISTANCE, 0.0
    if below < count:
        state[RESISTANCE], state[RESISTANCE_TOUCHES] = state[LEVELS + below], _touches(state, count, below, 1)


@kernel
def _touches(state: FloatArray, count: int, at: int, outwards: int) -> int:
    # Of equal levels the wider zone: in which order they came does not matter.
    level, width = state[LEVELS + at], state[WIDTHS + at]
    equal = at + outwards
    while 0 <= equal < count and state[LEVELS + equal] == level:
        width = max(width, state[WIDTHS + equal])
        equal += outwards
    first, last = at, at
    while first > 0 and level - state[LEVELS + first - 1] <= width:
        first -= 1
    while last < count - 1 and state[LEVELS + last + 1] - level <= width:
        last += 1
    return last - first + 1


SPEC = KernelSpec(
    name="support_resistance",
    kernel=support_resistance,
    inputs=("high", "low", "close"),
    params=(
        Param("left", 5, 1, 1_000),
        Param("right", 5, 1, 1_000),
        Param("length", 14, 1, 1_000),
        Param("tolerance", 0.5, 0.0, 100.0),
        Param("max_age", 300, 10, 100_000),
    ),
    outputs=(
        "support",
        "resistance",
        "support_distance",
        "resistance_distance",
        "support_touches",
        "resistance_touches",
    ),
    state_size=lambda left, right, length, tolerance, max_age: (
        RANGES + range_size(length) + swing_rings_size(left, right)
    ),
    lookback=lambda left, right, length, tolerance, max_age: left + right + 1,
    warmup=lambda left, right, length, tolerance, max_age: max(max_age, right) + max(left, length - right) + 1,
    warmup_rtol=0.0,
    unit="quote currency; fraction of the close; swings",
    gap=GAP,
    reference="R. D. Edwards and J. Magee, Technical Analysis of Stock Trends, 1948",
)
