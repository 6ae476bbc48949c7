"""Aroon: how long ago the highest high and the lowest low were. Registered in the catalogue as ``aroon``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def aroon(high: FloatArray, low: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance Aroon up, down and oscillator: how recent the highest high and the lowest low are, in percent.

    .. math::

        up_t = 100 \, \frac{length - s^{high}_t}{length}, \qquad down_t = 100 \, \frac{length - s^{low}_t}{length}

    with :math:`s` the bars since the extreme.

    Parameters
    ----------
    high, low : (n,) array
        Quote currency.
    length : int
        Most bars that an extreme can lie back: the window has one more.
    state : (6 + 4 (length + 1),) array
        Bars in the block under way; 1 once a block is complete; highest high of the block and its place, lowest low and
        its place; then the block's highs, in the places that it has not reached the highest high of the block before
        from there on, and the place of that; the same of the lows.
    out : (3, n) array
        Up and down in [0, 100], 100 when the newest bar is the extreme; their difference. NaN until the window is full.

    Notes
    -----
    Of equal extremes the newest counts, as in TA-Lib. The window is the suffix of one block joined with the prefix of
    the next, as in ``windowed_extremes``: a few comparisons per bar, where a search of the window that starts whenever
    its extreme leaves takes twice as long, and ``length`` times in a market that only falls.
    """
    width = length + 1
    taken, full = max(0, int(state[0])), state[1]
    best_high, best_high_at, best_low, best_low_at = state[2], state[3], state[4], state[5]
    if taken == 0:
        best_high, best_low = 0.0, 2.0 * CEILING
    highs, highs_at = state[6 : 6 + width], state[6 + width : 6 + 2 * width]
    lows, lows_at = state[6 + 2 * width : 6 + 3 * width], state[6 + 3 * width :]
    scale = 100.0 / length if full > 0.0 else math.nan
    for i in range(high.shape[0]):
        top, bottom = high[i], low[i]
        if not (is_price(top) and is_price(bottom)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        highs[taken] = top
        lows[taken] = bottom
        at = float(taken)
        best_high_at = at if top >= best_high else best_high_at
        best_high = max(top, best_high)
        best_low_at = at if bottom <= best_low else best_low_at
        best_low = min(bottom, best_low)
        taken += 1
        if taken < width:
            older, older_at = highs[taken], highs_at[taken] - width
            rank_high = older_at if older > best_high else best_high_at
            older, older_at = lows[taken], lows_at[taken] - width
            rank_low = older_at if older < best_low else best_low_at
            rank_high += length - at
            rank_low += length - at
        else:
            rank_high, rank_low = best_high_at, best_low_at
            best_high, best_low = 0.0, 2.0 * CEILING
            for j in range(length, -1, -1):
                at = float(j)
                top, bottom = highs[j], lows[j]
                best_high_at = at if top > best_high else best_high_at
                best_high = max(top, best_high)
                best_low_at = at if bottom < best_low else best_low_at
                best_low = min(bottom, best_low)
                highs[j], highs_at[j] = best_high, best_high_at
                lows[j], lows_at[j] = best_low, best_low_at
            taken, full, scale = 0, 1.0, 100.0 / length
            best_high, best_low = 0.0, 2.0 * CEILING
        out[0, i] = min(scale * rank_high, 100.0) if full > 0.0 else math.nan  # 100 / 22 * 22 is more than 100
        out[1, i] = min(scale * rank_low, 100.0) if full > 0.0 else math.nan
        out[2, i] = scale * (rank_high - rank_low)
    if taken == 0:  # no block under way: nothing to remember of it
        best_high, best_high_at, best_low, best_low_at = 0.0, 0.0, 0.0, 0.0
    state[0], state[1] = taken, full
    state[2], state[3], state[4], state[5] = best_high, best_high_at, best_low, best_low_at


SPEC = KernelSpec(
    name="aroon",
    kernel=aroon,
    inputs=("high", "low"),
    params=(Param("length", 14, 1, 100_000),),
    outputs=("up", "down", "oscillator"),
    state_size=lambda length: 6 + 4 * (length + 1),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=0.0,
    unit="0 to 100; oscillator -100 to 100",
    gap=GAP,
    reference="T. S. Chande, A Time Price Oscillator, Technical Analysis of Stocks & Commodities 13(9), 1995; "
    "TA-Lib AROON and AROONOSC",
)
