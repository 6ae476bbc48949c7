"""Williams' percent range. Registered in the catalogue as ``williams_r``."""

from __future__ import annotations

import math

from research.features.momentum.price_bars import bar_range
from research.features.validity import CEILING, GAP
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def williams_r(
    high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance Williams %R: how far the close lies below the highest high, in percent of the range.

    .. math::

        R_t = -100 \, \frac{H_t - c_t}{H_t - L_t}, \qquad
        H_t = \max_{i < length} h_{t-i}, \quad L_t = \min_{i < length} l_{t-i}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        Bars in the block under way; 1 once a block is complete; the block's highest high and lowest low; then the
        block's highs and, from there on, the suffix extremes of the block before; the same for lows.
    out : (1, n) array
        In [-100, 0]: 0 is a close at the highest price, -100 at the lowest, -50 also where all prices are equal. NaN
        until the window is full.

    Notes
    -----
    Where all prices are equal TA-Lib answers 0, "as overbought as can be".
    """
    taken, full = max(0, int(state[0])), state[1]
    top, bottom = (state[2], state[3]) if taken > 0 else (0.0, CEILING)
    highs, lows = state[4 : 4 + length], state[4 + length :]
    scale = -100.0 if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price = close[i]
        readable, highest, lowest = bar_range(high[i], low[i], price)
        if not readable:
            out[0, i] = math.nan
            continue
        highs[taken] = highest
        lows[taken] = lowest
        taken += 1
        if taken < length:
            top = highest if highest > top else top
            bottom = lowest if lowest < bottom else bottom
            earlier_top, earlier_bottom = highs[taken], lows[taken]
            highest = earlier_top if earlier_top > top else top
            lowest = earlier_bottom if earlier_bottom < bottom else bottom
        else:
            for j in range(length - 2, -1, -1):
                earlier_top, earlier_bottom = highs[j], lows[j]
                highest = earlier_top if earlier_top > highest else highest
                lowest = earlier_bottom if earlier_bottom < lowest else lowest
                highs[j], lows[j] = highest, lowest
            taken, top, bottom, full, scale = 0, 0.0, CEILING, 1.0, -100.0
        span = highest - lowest
        out[0, i] = scale * ((highest - price) / span if span > 0.0 else 0.5)
    if taken == 0:  # no block under way: nothing to remember of it
        top, bottom = 0.0, 0.0
    state[0], state[1], state[2], state[3] = taken, full, top, bottom


SPEC = KernelSpec(
    name="williams_r",
    kernel=williams_r,
    inputs=("high", "low", "close"),
    params=(Param("length", 14, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 4 + 2 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=0.0,
    unit="-100 to 0",
    gap=GAP,
    reference="L. R. Williams, How I Made One Million Dollars, 1973; TA-Lib WILLR",
)
