"""Divergence of price and relative strength between pivots. Registered in the catalogue as ``rsi_divergence``."""

from __future__ import annotations

import math

from research.features.momentum.pivot_pairs import (
    DIVERGENCES,
    KINDS,
    OUTPUTS,
    confirmed_pivots,
    diverge,
    pivots_size,
    record_divergences,
)
from research.features.momentum.price_bars import is_bar
from research.features.validity import GAP
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rsi_divergence(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the RSI divergences, regular and hidden, between the two newest confirmed pivots of price.

    .. math::

        RSI_p = 100 \, \frac{\sum_{i < length} (c_{p-i} - c_{p-i-1})^+}{\sum_{i < length} |c_{p-i} - c_{p-i-1}|}

    Bullish is a lower low on a higher index, bearish a higher high on a lower index; hidden bullish is a higher low on
    a lower index, hidden bearish a lower high on a higher index.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    length : int
        Changes in the index.
    left : int
        Bars before a pivot, all of which it has to exceed: a pivot high with its high, a pivot low with its low.
    right : int
        Bars after a pivot, none of which may exceed it. It is confirmed, and known, that many bars late.
    max_age : int
        Bars that two pivots may lie apart, and that a divergence is remembered.
    state : (13 + length + right + pivots_size,) array
        Bars seen, up to the lookback; slot of the oldest close; for lows, then for highs: bars for which the newest
        pivot can still be paired, its price, its index; as ``record_divergences``; ring of the last
        ``length + right + 1`` closes; as ``confirmed_pivots``.
    out : (8, n) array
        Four strengths in points of the index, above 0 at the bar that confirms the newer pivot, ``right`` bars after
        it, and 0 at all others; then the bars since the newest of each, ``max_age`` if there is none younger. NaN until
        the first bar that could confirm a pivot with an index.

    Notes
    -----
    The index is Cutler's, of simple averages: Wilder's remembers all bars, so that which of two is higher would hang on
    where the history starts. Its sums are taken anew at each pivot, oldest change first: a restarted kernel gives the
    same bits.
    """
    window = length + right + 1
    pivots = 12 + window
    lookback = right + 1 + max(left, length)
    seen, slot = int(state[0]), int(state[1])
    low_for, older_low, low_index = state[2], state[3], state[4]
    high_for, older_high, high_index = state[5], state[6], state[7]
    for i in range(close.shape[0]):
        for row in range(OUTPUTS):
            out[row, i] = math.nan
        if not is_bar(high[i], low[i], close[i]):
            continue
        state[12 + slot] = close[i]
        slot = slot + 1 if slot + 1 < window else 0
        low_for -= 1.0
        high_for -= 1.0
        is_low, is_high, bottom, top = confirmed_pivots(state, pivots, left, right, high[i], low[i])
        if seen < lookback:
            seen += 1
            if seen < lookback:
                continue
        for row in range(KINDS):
            out[row, i] = 0.0
        if is_low or is_high:
            index = simple_rsi(state, 12, window, slot, length)
            if is_low:
                if low_for > 0.0:
                    out[0, i], out[2, i] = diverge(1.0, bottom - older_low, index - low_index)
                low_for, older_low, low_index = max_age + 1.0, bottom, index
            if is_high:
                if high_for > 0.0:
                    out[1, i], out[3, i] = diverge(-1.0, top - older_high, index - high_index)
                high_for, older_high, high_index = max_age + 1.0, top, index
        record_divergences(state, 8, max_age, out, i)
    state[0], state[1] = seen, slot
    state[2], state[3], state[4] = low_for, older_low, low_index
    state[5], state[6], state[7] = high_for, older_high, high_index


@kernel
def simple_rsi(state: FloatArray, base: int, size: int, oldest: int, length: int) -> float:
    """Return Cutler's index over the first ``length`` changes of a ring, 50 if nothing changed."""
    at, rise, way = oldest, 0.0, 0.0
    previous = state[base + at]
    for _ in range(length):
        at = at + 1 if at + 1 < size else 0
        change = state[base + at] - previous
        previous = state[base + at]
        rise += max(change, 0.0)
        way += abs(change)
    return 100.0 * (rise / way) if way > 0.0 else 50.0


SPEC = KernelSpec(
    name="rsi_divergence",
    kernel=rsi_divergence,
    inputs=("high", "low", "close"),
    params=(
        Param("length", 14, 2, 5_000),
        Param("left", 5, 1, 500),
        Param("right", 5, 1, 500),
        Param("max_age", 60, 1, 100_000),
    ),
    outputs=DIVERGENCES,
    state_size=lambda length, left, right, max_age: 13 + length + right + pivots_size(left, right),
    lookback=lambda length, left, right, max_age: right + 1 + max(left, length),
    # The oldest divergence that is remembered may rest on a pivot that is max_age older than it.
    warmup=lambda length, left, right, max_age: right + max(left, length) + 2 * max_age,
    warmup_rtol=0.0,
    unit="points of the index, and bars",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978 (divergence); index after D. Cutler",
)
