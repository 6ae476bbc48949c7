"""Bollinger's bands around the mean close. Registered in the catalogue as ``bollinger``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.anchored_moments import anchored_size, suffix_sums
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def bollinger(close: FloatArray, length: int, factor: float, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the Bollinger bands, their width, and %b: the place of the close between them.

    .. math::

        u_t = m_t + f \sigma_t, \qquad l_t = m_t - f \sigma_t, \qquad
        w_t = \frac{u_t - l_t}{m_t}, \qquad b_t = \frac{c_t - l_t}{u_t - l_t}

    with :math:`m` the mean and :math:`\sigma` the population standard deviation of the last ``length`` closes.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Closes in the window.
    factor : float
        Standard deviations from the middle to either band.
    state : (5 + 2 length,) array
        As ``anchored_moments``, whose steps are written out here.
    out : (5, n) array
        Upper band, middle, lower band, in quote currency; width as a fraction of the middle, 0 when all closes are
        equal; percent b: 0 at the lower band and 1 at the upper, 0.5 when all closes are equal, within
        :math:`\frac{1}{2} \pm \sqrt{length - 1} / (2 f)`. NaN until the window is full.

    Notes
    -----
    TA-Lib's BBANDS subtracts the square of the mean from the mean of squares, so that a quiet market far from zero
    loses digits there: its bands are the same within some :math:`10^{-8}` of the price. A band may lie below zero.
    """
    taken, full, anchor, total, squares = max(0, int(state[0])), state[1], state[2], state[3], state[4]
    rings = state[5 : 5 + 2 * length]
    share = 1.0 / length
    scale = share if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = out[4, i] = math.nan
            continue
        rings[taken] = price
        taken += 1
        if taken < length:
            difference = price - anchor
            total += difference
            squares += difference * difference
            sums, sums2 = total + rings[taken], squares + rings[length + taken]
        else:
            sums, sums2 = suffix_sums(rings, 0, length)
            taken, full, anchor, total, squares, scale = 0, 1.0, price, 0.0, 0.0, share
        mean = anchor + sums * scale
        reach = factor * math.sqrt(max(0.0, sums2 - sums * (sums * share)) * scale)
        out[0, i] = mean + reach
        out[1, i] = mean
        out[2, i] = mean - reach
        out[3, i] = 2.0 * reach / mean
        out[4, i] = 0.5 if reach == 0.0 else 0.5 + 0.5 * ((price - mean) / reach)  # NaN until full: not equal to 0
    state[0], state[1], state[2], state[3], state[4] = taken, full, anchor, total, squares


SPEC = KernelSpec(
    name="bollinger",
    kernel=bollinger,
    inputs=("close",),
    params=(Param("length", 20, 2, 100_000), Param("factor", 2.0, 0.1, 10.0)),
    outputs=("upper", "middle", "lower", "width", "percent_b"),
    state_size=lambda length, factor: anchored_size(length),
    lookback=lambda length, factor: length,
    warmup=lambda length, factor: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote; width and percent_b: fraction",
    gap=GAP,
    reference="J. Bollinger, Bollinger on Bollinger Bands, 2001; TA-Lib BBANDS",
)
