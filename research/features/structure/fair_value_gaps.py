"""Three-bar imbalances that price has not traded through yet. Registered in the catalogue as ``fair_value_gaps``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

SLOTS = 32
FIELDS = 3  # of a gap: near edge, far edge, bar
SEEN, HIGH_BEFORE, HIGH_TWO_BEFORE, LOW_BEFORE, LOW_TWO_BEFORE = 0, 1, 2, 3, 4
BULLISH = 5  # number of gaps, near and far edge of the nearest, gaps
BEARISH = BULLISH + 3 + FIELDS * SLOTS
STATE_SIZE = BEARISH + 3 + FIELDS * SLOTS


@kernel
def fair_value_gaps(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    min_size: float,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the fair value gaps (FVG): the nearest bullish and bearish one that is not filled.

    .. math::

        bullish: \ (h_{t-2}, l_t) \text{ where } l_t - h_{t-2} > 0, \qquad
        bearish: \ (h_t, l_{t-2}) \text{ where } l_{t-2} - h_t > 0

    Later bars fill a gap from its near edge: what they trade into is taken off it, and a gap is dropped when they reach
    its far edge.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    min_size : float
        Least size of a new gap as a fraction of the close; 0 takes every gap.
    max_age : int
        A gap is dropped once the bar that completed it is more bars old. So is the oldest of more than 32.
    state : (203,) array
        Bars seen; the last two highs and lows, newest first; for bullish, then for bearish gaps (with the signs of
        prices turned round) their number, the edges of the nearest, and of each, oldest first, both edges and bar.
    out : (6, n) array
        NaN until 3 bars were seen. Of the bullish gap with the highest edge, then of the bearish one with the lowest,
        of equal ones the newest:

        ``bullish_distance``: (close - upper edge) / close; 0 without one.
        ``bullish_size``: what is left of it as a fraction of the close; 0 without one.
        ``bullish_count``: gaps kept.
        ``bearish_...``: likewise, the distance (lower edge - close) / close.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        for j in range(6):
            out[j, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        seen = state[SEEN] + 1.0
        state[SEEN] = seen
        if seen > 2.0:
            # In a mirror a bearish gap is a bullish one.
            _follow_gaps(state, BULLISH, seen, max_age, bottom, state[HIGH_TWO_BEFORE], min_size * price)
            _follow_gaps(state, BEARISH, seen, max_age, -top, -state[LOW_TWO_BEFORE], min_size * price)
            for side in range(2):
                register = BULLISH if side == 0 else BEARISH
                mirrored = price if side == 0 else -price
                near, far = state[register + 1], state[register + 2]
                known = state[register] > 0.0
                out[3 * side, i] = (mirrored - near) / price if known else 0.0
                out[3 * side + 1, i] = (near - far) / price if known else 0.0
                out[3 * side + 2, i] = state[register]
        state[HIGH_TWO_BEFORE], state[LOW_TWO_BEFORE] = state[HIGH_BEFORE], state[LOW_BEFORE]
        state[HIGH_BEFORE], state[LOW_BEFORE] = top, bottom


@kernel
def _follow_gaps(
    state: FloatArray, register: int, seen: float, max_age: int, low: float, high_before: float, least: float
) -> None:
    count = int(state[register])
    gaps = register + 3
    changed = False
    if count > 0 and (low < state[register + 1] or state[gaps + 2] < seen - max_age):
        changed = True
        kept = gaps
        for gap in range(gaps, gaps + FIELDS * count, FIELDS):
            near, far, bar = state[gap], state[gap + 1], state[gap + 2]
            if low <= far or bar < seen - max_age:
                continue
            state[kept], state[kept + 1], state[kept + 2] = min(near, low), far, bar
            kept += FIELDS
        count = (kept - gaps) // FIELDS
    if low - high_before > 0.0 and low - high_before >= least:
        changed = True
        if count == SLOTS:
            for j in range(gaps, gaps + FIELDS * (SLOTS - 1)):
                state[j] = state[j + FIELDS]
            count -= 1
        gap = gaps + FIELDS * count
        state[gap], state[gap + 1], state[gap + 2] = low, high_before, seen
        count += 1
    if changed:
        state[register] = count
        nearest = gaps
        for gap in range(gaps, gaps + FIELDS * count, FIELDS):
            if state[gap] >= state[nearest]:
                nearest = gap
        state[register + 1], state[register + 2] = state[nearest], state[nearest + 1]


SPEC = KernelSpec(
    name="fair_value_gaps",
    kernel=fair_value_gaps,
    inputs=("high", "low", "close"),
    params=(Param("min_size", 0.0, 0.0, 1.0), Param("max_age", 300, 10, 100_000)),
    outputs=(
        "bullish_distance",
        "bullish_size",
        "bullish_count",
        "bearish_distance",
        "bearish_size",
        "bearish_count",
    ),
    state_size=lambda min_size, max_age: STATE_SIZE,
    lookback=lambda min_size, max_age: 3,
    warmup=lambda min_size, max_age: max_age + 3,
    warmup_rtol=0.0,
    unit="fraction of the close; gaps",
    gap=GAP,
    reference="definition after public lessons by M. J. Huddleston (Inner Circle Trader)",
)
