"""Yang and Zhang's volatility of bars and gaps. Registered in the catalogue as ``yang_zhang``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.anchored_moments import anchored_moments, anchored_size
from research.features.volatility.rogers_satchell import bar_variance
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def yang_zhang(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Yang-Zhang volatility: from gaps, bodies and ranges of the last ``length`` bars.

    .. math::

        \sigma_t = \sqrt{s^2\!\left(\ln \frac{o}{c_{-1}}\right) + k \, s^2\!\left(\ln \frac{c}{o}\right)
        + (1 - k) \, \frac{1}{length} \sum v}, \qquad
        k = \frac{0.34}{1.34 + \frac{length + 1}{length - 1}}

    with :math:`s^2` the sample variance over the window, :math:`c_{-1}` the close of the bar before and :math:`v` the
    variance of a bar after Rogers and Satchell (``rogers_satchell``).

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    length : int
        Bars in the window; each needs the close before it.
    state : (14 + 5 length,) array
        Close of the bar before (0: none); then ``anchored_moments`` of the gaps and of the bodies; then
        ``windowed_sum`` of the variances.
    out : (1, n) array
        Standard deviation of the log return from close to close of one bar, not annualised; NaN until the window is
        full, 0 when no price has moved.

    Notes
    -----
    In a market that never closes a bar opens where the one before closed and the first term is nearly nothing.
    """
    previous = state[0]
    bodies_at = 1 + 5 + 2 * length
    sum_at = bodies_at + 5 + 2 * length
    k = 0.34 / (1.34 + (length + 1.0) / (length - 1.0))
    for i in range(close.shape[0]):
        first, top, bottom, last = open[i], high[i], low[i], close[i]
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(last)):
            out[0, i] = math.nan
            continue
        value = math.nan
        if previous > 0.0:
            body = math.log(last / first)
            inside = bar_variance(math.log(top / first), math.log(bottom / first), body)
            _, gaps = anchored_moments(state, 1, length, math.log(first / previous))
            _, bodies = anchored_moments(state, bodies_at, length, body)
            total = windowed_sum(state, sum_at, length, inside)
            value = math.sqrt((gaps + k * bodies) / (length - 1.0) + (1.0 - k) * total / length)
        previous = last
        out[0, i] = value
    state[0] = previous


SPEC = KernelSpec(
    name="yang_zhang",
    kernel=yang_zhang,
    inputs=("open", "high", "low", "close"),
    params=(Param("length", 20, 2, 100_000),),
    outputs=("",),
    state_size=lambda length: 1 + 2 * anchored_size(length) + sum_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="D. Yang, Q. Zhang, Drift-Independent Volatility Estimation Based on High, Low, Open, and Close Prices, "
    "Journal of Business 73(3), 2000",
)
