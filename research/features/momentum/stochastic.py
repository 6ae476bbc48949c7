"""Stochastic oscillator after Lane. Registered in the catalogue as ``stochastic``."""

from __future__ import annotations

import math

from research.features.momentum.block_mean import block_mean
from research.features.momentum.price_bars import bar_range
from research.features.validity import CEILING, GAP
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def stochastic(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    fast_k: int,
    slow_k: int,
    slow_d: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the stochastic oscillator (%K and %D): where the close lies in its range of ``fast_k`` bars, smoothed.

    .. math::

        K_t = \frac{100}{slow_k} \sum_{i < slow_k} \frac{c_{t-i} - L_{t-i}}{H_{t-i} - L_{t-i}}, \qquad
        D_t = \frac{1}{slow_d} \sum_{i < slow_d} K_{t-i}

    with :math:`H` and :math:`L` the highest high and the lowest low of the last ``fast_k`` bars.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    fast_k : int
        Bars of the range, the newest among them.
    slow_k : int
        Values in the first simple average, that of the place in the range; 1 for none.
    slow_d : int
        Values in the second simple average, that of k.
    state : (8 + 2 fast_k + slow_k + slow_d,) array
        Bars seen, up to the lookback; bars in the block of the range, its highest high and lowest low; values in the
        block of the first average and their sum; the same for the second; then the block's highs and, from there on,
        the suffix extremes of the block before; the same for lows; both averages' blocks, as ``block_mean``.
    out : (2, n) array
        k and d in [0, 100]: 100 is a close at the highest price. Where all prices are equal the place in the range
        counts as 50. Both NaN until the second average is full.

    Notes
    -----
    The slow stochastic; the fast one is ``slow_k=1``. Where all prices are equal TA-Lib takes 0.
    """
    seen, taken = int(state[0]), max(0, int(state[1]))
    top, bottom = (state[2], state[3]) if taken > 0 else (0.0, CEILING)
    taken_k, sum_k, taken_d, sum_d = max(0, int(state[4])), state[5], max(0, int(state[6])), state[7]
    highs, lows = state[8 : 8 + fast_k], state[8 + fast_k : 8 + 2 * fast_k]
    shares, means = state[8 + 2 * fast_k : 8 + 2 * fast_k + slow_k], state[8 + 2 * fast_k + slow_k :]
    seeded = fast_k + slow_k - 1
    full = seeded + slow_d - 1
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = out[1, i] = math.nan
        readable, highest, lowest = bar_range(high[i], low[i], price)
        if not readable:
            continue
        highs[taken] = highest
        lows[taken] = lowest
        taken += 1
        if taken < fast_k:
            top = highest if highest > top else top
            bottom = lowest if lowest < bottom else bottom
            earlier_top, earlier_bottom = highs[taken], lows[taken]
            highest = earlier_top if earlier_top > top else top
            lowest = earlier_bottom if earlier_bottom < bottom else bottom
        else:
            for j in range(fast_k - 2, -1, -1):
                earlier_top, earlier_bottom = highs[j], lows[j]
                highest = earlier_top if earlier_top > highest else highest
                lowest = earlier_bottom if earlier_bottom < lowest else lowest
                highs[j], lows[j] = highest, lowest
            taken, top, bottom = 0, 0.0, CEILING
        if seen < full:
            seen += 1
            if seen < fast_k:
                continue
        span = highest - lowest
        share = (price - lowest) / span if span > 0.0 else 0.5
        taken_k, sum_k, k = block_mean(shares, taken_k, sum_k, slow_k, share)
        if seen < seeded:
            continue
        taken_d, sum_d, d = block_mean(means, taken_d, sum_d, slow_d, k)
        if seen == full:
            out[0, i], out[1, i] = 100.0 * k, 100.0 * d
    if taken == 0:  # no block under way: nothing to remember of it
        top, bottom = 0.0, 0.0
    state[0], state[1], state[2], state[3] = seen, taken, top, bottom
    state[4], state[5], state[6], state[7] = taken_k, sum_k, taken_d, sum_d


SPEC = KernelSpec(
    name="stochastic",
    kernel=stochastic,
    inputs=("high", "low", "close"),
    params=(Param("fast_k", 14, 1, 100_000), Param("slow_k", 3, 1, 100_000), Param("slow_d", 3, 1, 100_000)),
    outputs=("k", "d"),
    state_size=lambda fast_k, slow_k, slow_d: 8 + 2 * fast_k + slow_k + slow_d,
    lookback=lambda fast_k, slow_k, slow_d: fast_k + slow_k + slow_d - 2,
    warmup=lambda fast_k, slow_k, slow_d: fast_k + slow_k + slow_d - 2,
    warmup_rtol=WINDOW_RTOL,
    unit="0 to 100",
    gap=GAP,
    reference="G. C. Lane, Lane's Stochastics, Technical Analysis of Stocks & Commodities 2(3), 1984; TA-Lib STOCH",
)
