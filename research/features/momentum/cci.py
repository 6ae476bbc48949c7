"""Commodity channel index after Lambert. Registered in the catalogue as ``cci``."""

from __future__ import annotations

import math

from research.features.momentum.price_bars import is_bar
from research.features.validity import GAP
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def cci(high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the commodity channel index (CCI): the typical price's distance from its mean, in mean deviations.

    .. math::

        CCI_t = \frac{p_t - \bar p_t}{0.015 \cdot \frac{1}{length} \sum_{i < length} |p_{t-i} - \bar p_t|}, \qquad
        p_t = \tfrac{1}{3} (h_t + l_t + c_t), \quad \bar p_t = \tfrac{1}{length} \sum_{i < length} p_{t-i}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 3 length,) array
        Bars in the block under way; 1 once a block is complete; the anchor, which is the last typical price of the
        block before (0: none); the sum of the block's gaps to it; then the block's typical prices; their gaps and,
        from there on, those of the block before; the suffix sums of the gaps of the block before.
    out : (1, n) array
        Lambert's units, beyond -100 and 100 some fifth to a third of the time, within
        :math:`\pm length / 0.03`. 0 where no typical price differs from another. NaN until the window is full.

    Notes
    -----
    The mean deviation needs the whole window anew at every bar: the work grows with ``length``. Prices are measured
    from an anchor within the window, so that equal ones have gaps of exactly 0 and the index is 0 with them. Four sums
    side by side, because one alone would wait for each of its additions.
    """
    taken, full, anchor, prefix = max(0, int(state[0])), state[1], state[2], state[3]
    prices, gaps, sums = state[4 : 4 + length], state[4 + length : 4 + 2 * length], state[4 + 2 * length :]
    in_fours = length - length % 4
    for i in range(close.shape[0]):
        highest, lowest, price = high[i], low[i], close[i]
        if not is_bar(highest, lowest, price):
            out[0, i] = math.nan
            continue
        typical = (highest + lowest + price) / 3.0
        newest = typical - anchor
        prices[taken], gaps[taken] = typical, newest
        prefix += newest
        taken += 1
        if taken < length:
            if full == 0.0:
                out[0, i] = math.nan
                continue
            mean = (prefix + sums[taken]) / length
        else:
            total, newest = 0.0, 0.0
            for j in range(length - 1, -1, -1):
                gaps[j] = prices[j] - typical
                total += gaps[j]
                sums[j] = total
            mean = total / length
            taken, full, anchor, prefix = 0, 1.0, typical, 0.0
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for j in range(0, in_fours, 4):
            a += abs(gaps[j] - mean)
            b += abs(gaps[j + 1] - mean)
            c += abs(gaps[j + 2] - mean)
            d += abs(gaps[j + 3] - mean)
        for j in range(in_fours, length):
            a += abs(gaps[j] - mean)
        deviation = ((a + b) + (c + d)) / length
        # Typical prices that tie differ by the rounding of their third: that is no deviation.
        out[0, i] = (newest - mean) / (0.015 * deviation) if deviation > 1e-12 * typical else 0.0
    state[0], state[1], state[2], state[3] = taken, full, anchor, prefix


SPEC = KernelSpec(
    name="cci",
    kernel=cci,
    inputs=("high", "low", "close"),
    params=(Param("length", 20, 2, 5_000),),
    outputs=("",),
    state_size=lambda length: 4 + 3 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="0.015 mean absolute deviations",
    gap=GAP,
    reference="D. R. Lambert, Commodity Channel Index, Commodities magazine, October 1980; TA-Lib CCI",
)
