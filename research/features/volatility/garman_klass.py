"""Garman and Klass's volatility of range and body. Registered in the catalogue as ``garman_klass``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def garman_klass(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Garman-Klass volatility: from range and body of the last ``length`` bars.

    .. math::

        \sigma_t = \sqrt{\frac{1}{length} \sum_{i=0}^{length-1} \left( \frac{1}{2} \ln^2 \frac{h_{t-i}}{l_{t-i}}
        - (2 \ln 2 - 1) \ln^2 \frac{c_{t-i}}{o_{t-i}} \right)}

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    length : int
        Bars in the window.
    state : (3 + length,) array
        As ``windowed_sum``.
    out : (1, n) array
        Standard deviation of the log return of one bar, not annualised; NaN until the window is full, 0 when no bar
        has a range.

    Notes
    -----
    Assumes no drift and no gap between one bar's close and the next one's open. The body is part of the range, so that
    a term is not below zero; a bar that says otherwise counts as 0.
    """
    body_weight = 2.0 * math.log(2.0) - 1.0
    for i in range(close.shape[0]):
        first, top, bottom, last = open[i], high[i], low[i], close[i]
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(last)):
            out[0, i] = math.nan
            continue
        reach, body = math.log(top / bottom), math.log(last / first)
        variance = max(0.0, 0.5 * reach * reach - body_weight * body * body)
        out[0, i] = math.sqrt(windowed_sum(state, 0, length, variance) / length)


SPEC = KernelSpec(
    name="garman_klass",
    kernel=garman_klass,
    inputs=("open", "high", "low", "close"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=sum_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="M. B. Garman, M. J. Klass, On the Estimation of Security Price Volatilities from Historical Data, "
    "Journal of Business 53(1), 1980",
)
