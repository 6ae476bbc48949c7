"""Spread between the best prices of the book. Registered in the catalogue as ``quoted_spread``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel

BASIS_POINTS = 1e4
# No spread is wider than twice the mid price while both prices are above zero.
WIDEST = 2e4


@kernel
def quoted_spread(
    bid_price: FloatArray,
    ask_price: FloatArray,
    spread_mean: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the quoted bid-ask spread in basis points of the mid price, its mean and its z-score.

    .. math::

        s_t = 10^4 \, \frac{ask_t - bid_t}{m_t}, \qquad \bar s_t = 10^4 \, \frac{spread\_mean_t}{m_t}, \qquad
        m_t = \frac{bid_t + ask_t}{2}

    Parameters
    ----------
    bid_price, ask_price : (n,) array
        Best prices at the close of the bar, quote currency.
    spread_mean : (n,) array
        Mean spread over the time of the bar, quote currency.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (4, n) array
        ``bps``: :math:`s_t`, at the close, below 0 where the book is crossed. ``bar_bps``: :math:`\bar s_t`, at most
        20,000. ``mean_bps``: mean of :math:`\bar s` over the window. ``zscore``: of :math:`\bar s_t` within the window,
        sample standard deviations, 0 where all are equal. NaN until ``length`` bars were seen.

    Notes
    -----
    The z-score is that of the mean over the bar: the spread at one moment is one tick most of the time, and two
    otherwise.
    """
    for i in range(bid_price.shape[0]):
        bid, ask, wide = bid_price[i], ask_price[i], spread_mean[i]
        out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
        if not (is_price(bid) and is_price(ask) and is_volume(wide)):
            continue
        scale = BASIS_POINTS / (0.5 * (bid + ask))
        sample = min(wide * scale, WIDEST)
        mean, m2 = windowed_moments(state, 0, length, sample)
        if m2 >= 0.0:  # NaN until full
            deviation = math.sqrt(m2 / (length - 1))
            out[0, i] = (ask - bid) * scale
            out[1, i] = sample
            out[2, i] = mean
            out[3, i] = (sample - mean) / deviation if deviation > 0.0 else 0.0


SPEC = KernelSpec(
    name="quoted_spread",
    kernel=quoted_spread,
    inputs=("bid_price", "ask_price", "spread_mean"),
    params=(Param("length", 60, 2, 100_000),),
    outputs=("bps", "bar_bps", "mean_bps", "zscore"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="basis points of the mid price; standard deviations",
    gap=GAP,
    reference="definition; B. P. Welford, Technometrics 4(3), 1962",
)
