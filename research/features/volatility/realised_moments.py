"""Skewness and excess kurtosis of one-bar log returns. Registered in the catalogue as ``realised_moments``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.windowed_shape import shape_size, windowed_shape
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Logarithms of returns that are equal differ by some 1e-16: a deviation of this size is their rounding.
LEAST_DEVIATION = 1e-14


@kernel
def realised_moments(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the realised skewness and excess kurtosis of the last ``length`` one-bar log returns.

    .. math::

        g_1 = \frac{m_3}{m_2^{3/2}}, \qquad g_2 = \frac{m_4}{m_2^2} - 3, \qquad
        m_p = \frac{1}{length} \sum_{i=0}^{length-1} (r_{t-i} - \bar r_t)^p, \qquad r_t = \ln \frac{c_t}{c_{t-1}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    state : (7 + 4 length,) array
        Close of the bar before (0: none); then as ``windowed_shape``.
    out : (2, n) array
        Skewness, below zero when falls are the larger moves; excess kurtosis, 0 for a normal distribution and at least
        -2. Both 0 when all returns are equal; NaN until ``length`` returns were seen.

    Notes
    -----
    Moments of the sample, with divisor ``length`` and no correction for its size, as in ``scipy.stats`` by default:
    within :math:`\pm (length - 2) / \sqrt{length - 1}`, and at most ``length - 5 + 1 / (length - 1)``.
    """
    previous = state[0]
    least = length * LEAST_DEVIATION * LEAST_DEVIATION
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = out[1, i] = math.nan
            continue
        skew, kurtosis = math.nan, math.nan
        if previous > 0.0:
            m2, m3, m4 = windowed_shape(state, 1, length, math.log(price / previous))
            if m2 > least:
                skew = m3 / m2 * math.sqrt(length / m2)
                kurtosis = length * m4 / (m2 * m2) - 3.0
            elif m2 <= least:  # neither of the two is true of NaN
                skew, kurtosis = 0.0, 0.0
        previous = price
        out[0, i], out[1, i] = skew, kurtosis
    state[0] = previous


SPEC = KernelSpec(
    name="realised_moments",
    kernel=realised_moments,
    inputs=("close",),
    params=(Param("length", 48, 3, 100_000),),
    outputs=("skew", "kurtosis"),
    state_size=lambda length: 1 + shape_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="skew and excess kurtosis, without unit",
    gap=GAP,
    reference="sample skewness and excess kurtosis (g1, g2); P. Pébay, Sandia Report SAND2008-6212, 2008",
)
