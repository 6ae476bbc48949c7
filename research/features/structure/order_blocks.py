"""Last opposite candles before displacements that broke structure. Registered in the catalogue as ``order_blocks``."""

from __future__ import annotations

import math

from research.features.structure.recent_range import mean_range, range_size, take_range
from research.features.structure.structure_breaks import BREAK_OWN, structure_break
from research.features.structure.swing_points import HIGH_BAR, LOW_BAR, SEEN, follow_swings, swing_rings_size
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

SLOTS = 16
FIELDS = 4  # of a block: near edge, far edge, bar of the swing that was broken, mitigated
FALLING, RISING = BREAK_OWN, BREAK_OWN + 3  # the newest candle of each colour: bar, high, low
BULLISH = BREAK_OWN + 6
BEARISH = BULLISH + 1 + FIELDS * SLOTS
RANGES = BEARISH + 1 + FIELDS * SLOTS


@kernel
def order_blocks(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    length: int,
    factor: float,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the order blocks: the nearest bullish and bearish one, and whether it is mitigated.

    A bar displaces price upwards if its body is at least ``factor`` times the mean of the ``length`` true ranges
    before it, and it breaks structure if it is the first to close above the newest confirmed swing high:

    .. math::

        c_t - o_t \ge factor \cdot A_{t-1}, \qquad c_t > o_t, \qquad c_t > H_t

    The newest bar since that swing that closed below its open is then a bullish order block, from its low to its
    high. It is mitigated when a later bar trades into it, and dropped when one closes below it. Bearish blocks
    are the mirror image.

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency.
    left : int
        Bars before a swing, all of which it has to exceed: a swing high with its high, a swing low with its low.
    right : int
        Bars after a swing, none of which may exceed it. It is confirmed, and known, that many bars late.
    length : int
        True ranges in the mean.
    factor : float
        Least body of a displacement, in mean true ranges.
    max_age : int
        A block is dropped once the swing it was made by is more bars old. So is the oldest of more than 16.
    state : (151 + length + 2 (left + right + 1),) array
        As ``follow_swings`` and ``structure_break``; bar, high and low of the newest falling and of the newest rising
        candle; for bullish, then for bearish blocks their number and of each, oldest first, the near edge, the far
        edge, the bar of the swing and whether it is mitigated; then as ``take_range``.
    out : (10, n) array
        NaN until ``left + right + 1`` bars were seen. Of the bullish block with the highest high, then of the bearish
        block with the lowest low, of equal ones the newest:

        ``bullish_high``, ``bullish_low``: its bounds, the close where there is none.
        ``bullish_distance``: (close - high) / close, above 0 outside the block; 0 without.
        ``bullish_mitigated``: 1 if it is, else 0.
        ``bullish_count``: blocks kept.
        ``bearish_...``: likewise, the distance (low - close) / close.

    Notes
    -----
    A block hangs on nothing older than its swing: that is what bounds the warm-up.
    """
    ring = RANGES + 3 + length
    for i in range(close.shape[0]):
        first, top, bottom, price = open[i], high[i], low[i], close[i]
        for j in range(10):
            out[j, i] = math.nan
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(price)):
            continue
        follow_swings(state, ring, left, right, max_age, top, bottom)
        broken = structure_break(state, price)
        seen = state[SEEN]
        oldest = seen - max_age
        # Seen in a mirror, a bearish block is a bullish one: near edge, far edge, low and close change their sign.
        _visit(state, BULLISH, oldest, bottom, price)
        _visit(state, BEARISH, oldest, -top, -price)
        if broken != 0.0 and broken * (price - first) > 0.0:
            far_enough = abs(price - first) >= factor * mean_range(state, RANGES, length)
            if far_enough and broken > 0.0 and state[FALLING] >= state[HIGH_BAR]:
                _keep(state, BULLISH, state[FALLING + 1], state[FALLING + 2], state[HIGH_BAR])
            elif far_enough and broken < 0.0 and state[RISING] >= state[LOW_BAR]:
                _keep(state, BEARISH, -state[RISING + 2], -state[RISING + 1], state[LOW_BAR])
        take_range(state, RANGES, length, top, bottom, price)
        if price != first:
            candle = FALLING if price < first else RISING
            state[candle], state[candle + 1], state[candle + 2] = seen, top, bottom
        if seen < left + right + 1:
            continue
        nearest = _nearest(state, BULLISH)
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = price, price, 0.0, 0.0, state[BULLISH]
        if nearest > 0:
            out[0, i], out[1, i], out[3, i] = state[nearest], state[nearest + 1], state[nearest + 3]
            out[2, i] = (price - out[0, i]) / price
        nearest = _nearest(state, BEARISH)
        out[5, i], out[6, i], out[7, i], out[8, i], out[9, i] = price, price, 0.0, 0.0, state[BEARISH]
        if nearest > 0:
            out[5, i], out[6, i], out[8, i] = -state[nearest + 1], -state[nearest], state[nearest + 3]
            out[7, i] = (out[6, i] - price) / price


@kernel
def _visit(state: FloatArray, register: int, oldest: float, low: float, close: float) -> None:
    # Mark the blocks that the bar trades into, and close the ranks where one is dropped.
    kept = register + 1
    for block in range(register + 1, register + 1 + FIELDS * int(state[register]), FIELDS):
        near, far, bar, mitigated = state[block], state[block + 1], state[block + 2], state[block + 3]
        if close < far or bar < oldest:
            continue
        state[kept], state[kept + 1], state[kept + 2] = near, far, bar
        state[kept + 3] = 1.0 if low <= near else mitigated
        kept += FIELDS
    state[register] = (kept - register - 1) // FIELDS


@kernel
def _keep(state: FloatArray, register: int, near: float, far: float, bar: float) -> None:
    count = int(state[register])
    if count == SLOTS:
        for j in range(register + 1, register + 1 + FIELDS * (SLOTS - 1)):
            state[j] = state[j + FIELDS]
        count -= 1
    block = register + 1 + FIELDS * count
    state[block], state[block + 1], state[block + 2], state[block + 3] = near, far, bar, 0.0
    state[register] = count + 1.0


@kernel
def _nearest(state: FloatArray, register: int) -> int:
    # Blocks lie oldest first: of equal edges the last is the newest.
    nearest = 0
    for block in range(register + 1, register + 1 + FIELDS * int(state[register]), FIELDS):
        if nearest == 0 or state[block] >= state[nearest]:
            nearest = block
    return nearest


SPEC = KernelSpec(
    name="order_blocks",
    kernel=order_blocks,
    inputs=("open", "high", "low", "close"),
    params=(
        Param("left", 5, 1, 1_000),
        Param("right", 5, 1, 1_000),
        Param("length", 14, 1, 1_000),
        Param("factor", 1.0, 0.0, 100.0),
        Param("max_age", 300, 10, 100_000),
    ),
    outputs=(
        "bullish_high",
        "bullish_low",
        "bullish_distance",
        "bullish_mitigated",
        "bullish_count",
        "bearish_high",
        "bearish_low",
        "bearish_distance",
        "bearish_mitigated",
        "bearish_count",
    ),
    state_size=lambda left, right, length, factor, max_age: RANGES + range_size(length) + swing_rings_size(left, right),
    lookback=lambda left, right, length, factor, max_age: left + right + 1,
    warmup=lambda left, right, length, factor, max_age: max(max_age, right) + max(left, length - right) + 1,
    warmup_rtol=0.0,
    unit="quote currency; fraction of the close; flag; blocks",
    gap=GAP,
    reference="definition after public lessons by M. J. Huddleston (Inner Circle Trader)",
)
