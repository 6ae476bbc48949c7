"""Volatility from the range of each bar, after Parkinson. Registered in the catalogue as ``parkinson``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def parkinson(high: FloatArray, low: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the Parkinson volatility: from the ranges, high to low, of the last ``length`` bars.

    .. math::

        \sigma_t = \sqrt{\frac{1}{4 \ln 2 \cdot length} \sum_{i=0}^{length-1} \ln^2 \frac{h_{t-i}}{l_{t-i}}}

    Parameters
    ----------
    high, low : (n,) array
        Quote currency. Trusts low <= high.
    length : int
        Bars in the window.
    state : (3 + length,) array
        As ``windowed_sum``.
    out : (1, n) array
        Standard deviation of the log return of one bar, not annualised; NaN until the window is full, 0 when no bar
        has a range.

    Notes
    -----
    Assumes no drift and a price that is seen at every moment: it reads low where trades are few, and it does not see
    what happens between one bar's close and the next one's open.
    """
    scale = 1.0 / (4.0 * math.log(2.0) * length)
    for i in range(high.shape[0]):
        top, bottom = high[i], low[i]
        if not (is_price(top) and is_price(bottom)):
            out[0, i] = math.nan
            continue
        log_range = math.log(top / bottom)
        out[0, i] = math.sqrt(scale * windowed_sum(state, 0, length, log_range * log_range))


SPEC = KernelSpec(
    name="parkinson",
    kernel=parkinson,
    inputs=("high", "low"),
    params=(Param("length", 48, 1, 100_000),),
    outputs=("",),
    state_size=sum_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="M. Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return, "
    "Journal of Business 53(1), 1980",
)
