"""Stochastic oscillator of the relative strength index. Registered in the catalogue as ``stoch_rsi``."""

from __future__ import annotations

import math

from research.features.momentum.block_mean import block_mean
from research.features.smoothing import RECURSIVE_RTOL, wilder_average, wilder_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Of an index between 0 and 1. Where prices stand still the index is as good as constant and its range is rounding.
LEAST_RANGE = 1e-4


@kernel
def stoch_rsi(close: FloatArray, length: int, stoch: int, k: int, d: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the stochastic RSI: where the RSI lies in its own range of the last ``stoch`` bars, smoothed twice.

    .. math::

        s_t = \frac{RSI_t - \min_{i < stoch} RSI_{t-i}}{\max_{i < stoch} RSI_{t-i} - \min_{i < stoch} RSI_{t-i}}, \qquad
        K_t = \frac{100}{k} \sum_{i < k} s_{t-i}, \qquad D_t = \frac{1}{d} \sum_{i < d} K_{t-i}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Changes in the seed of the index, as in ``rsi``; also sets its decay.
    stoch : int
        Bars of the range: values of the index, the newest among them.
    k : int
        Values in the first simple average, that of the place in the range.
    d : int
        Values in the second simple average, that of k.
    state : (12 + 2 stoch + k + d,) array
        As ``rsi``; indices seen, up to the last that is needed for an output; indices in the block of the range, its
        highest and lowest; values in the block of the first average and their sum; the same for the second; then the
        block's indices and, from there on, the suffix maxima of the block before; the same for minima; both averages'
        blocks, as ``block_mean``.
    out : (2, n) array
        k and d in [0, 100]: 100 is an index at its highest. Both NaN until the second average is full.

    Notes
    -----
    A range of less than 0.01 points counts as one of 0.01 around its middle: the index of a market that stands still is
    constant but for rounding, and then the answer is 50 or next to it, and not where in the rounding it lies.

    TA-Lib's STOCHRSI is ``k=1``: its fastk is k and its fastd is d.
    """
    weight = 1.0 / length
    previous, count, rise, fall = state[0], int(state[1]), state[2], state[3]
    seen, taken = int(state[4]), max(0, int(state[5]))
    top, bottom = (state[6], state[7]) if taken > 0 else (0.0, 1.0)
    taken_k, sum_k, taken_d, sum_d = max(0, int(state[8])), state[9], max(0, int(state[10])), state[11]
    highs, lows = state[12 : 12 + stoch], state[12 + stoch : 12 + 2 * stoch]
    shares, means = state[12 + 2 * stoch : 12 + 2 * stoch + k], state[12 + 2 * stoch + k :]
    seeded = stoch + k - 1
    full = seeded + d - 1
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = out[1, i] = math.nan
        if not is_price(price):
            continue
        if previous > 0.0:
            change = price - previous
            _, rise = wilder_average(count, rise, length, weight, max(change, 0.0))
            count, fall = wilder_average(count, fall, length, weight, max(-change, 0.0))
        previous = price
        if count < length:
            continue
        total = rise + fall
        index = rise / total if total > 0.0 else 0.5
        highest, lowest = index, index
        highs[taken], lows[taken] = index, index
        taken += 1
        if taken < stoch:
            top = index if index > top else top
            bottom = index if index < bottom else bottom
            earlier_top, earlier_bottom = highs[taken], lows[taken]
            highest = earlier_top if earlier_top > top else top
            lowest = earlier_bottom if earlier_bottom < bottom else bottom
        else:
            for j in range(stoch - 2, -1, -1):
                earlier_top, earlier_bottom = highs[j], lows[j]
                highest = earlier_top if earlier_top > highest else highest
                lowest = earlier_bottom if earlier_bottom < lowest else lowest
                highs[j], lows[j] = highest, lowest
            taken, top, bottom = 0, 0.0, 1.0
        if seen < full:
            seen += 1
            if seen < stoch:
                continue
        span = highest - lowest
        share = index - lowest
        if span < LEAST_RANGE:
            share += 0.5 * (LEAST_RANGE - span)
            span = LEAST_RANGE
        share /= span
        taken_k, sum_k, mean = block_mean(shares, taken_k, sum_k, k, share)
        if seen < seeded:
            continue
        out[0, i] = 100.0 * mean
        taken_d, sum_d, mean = block_mean(means, taken_d, sum_d, d, mean)
        if seen == full:
            out[1, i] = 100.0 * mean
        else:
            out[0, i] = math.nan
    state[0], state[1], state[2], state[3] = previous, count, rise, fall
    if taken == 0:  # no block under way: nothing to remember of it
        top, bottom = 0.0, 0.0
    state[4], state[5], state[6], state[7] = seen, taken, top, bottom
    state[8], state[9], state[10], state[11] = taken_k, sum_k, taken_d, sum_d


SPEC = KernelSpec(
    name="stoch_rsi",
    kernel=stoch_rsi,
    inputs=("close",),
    params=(
        Param("length", 14, 2, 100_000),
        Param("stoch", 14, 1, 100_000),
        Param("k", 3, 1, 100_000),
        Param("d", 3, 1, 100_000),
    ),
    outputs=("k", "d"),
    state_size=lambda length, stoch, k, d: 12 + 2 * stoch + k + d,
    lookback=lambda length, stoch, k, d: length + stoch + k + d - 2,
    warmup=lambda length, stoch, k, d: wilder_warmup(length) + stoch + k + d - 2,
    warmup_rtol=RECURSIVE_RTOL,
    unit="0 to 100",
    gap=GAP,
    reference="T. S. Chande, S. Kroll, The New Technical Trader, 1994; TA-Lib STOCHRSI",
)
