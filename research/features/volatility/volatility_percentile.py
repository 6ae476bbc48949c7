"""Rank of volatility within its recent past. Registered in the catalogue as ``volatility_percentile``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.anchored_moments import anchored_moments, anchored_size
from research.features.volatility.tied_rank import rank_size, tied_rank
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Logarithms of returns that are equal differ by some 1e-16: a deviation of this size is their rounding.
LEAST_DEVIATION = 1e-14


@kernel
def volatility_percentile(close: FloatArray, length: int, window: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the volatility percentile: rank of the historical volatility among its last ``window`` values.

    .. math::

        P_t = \frac{\#\{\sigma_j < \sigma_t\} + \tfrac{1}{2} \#\{\sigma_j \approx \sigma_t\}}{window - 1}, \qquad
        j = t - window + 1, \ldots, t - 1

    with :math:`\sigma` the standard deviation of ``volatility``.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Returns in the deviation.
    window : int
        Deviations in the ranking, the newest among them.
    state : (8 + 2 length + window,) array
        Close of the bar before (0: none); then as ``anchored_moments``; then as ``tied_rank``.
    out : (1, n) array
        In [0, 1]: 0 below all others, 1 above; ties, to one part in :math:`10^9` of the variance, count half, so that
        0.5 is the answer where no price has moved or all returns are alike. NaN until the window is full.

    Notes
    -----
    Ranks sums of squared deviations: their order is that of the deviations.
    """
    previous = state[0]
    rank_at = 6 + 2 * length
    least = length * LEAST_DEVIATION * LEAST_DEVIATION
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        value = math.nan
        if previous > 0.0:
            _, m2 = anchored_moments(state, 1, length, math.log(price / previous))
            if m2 >= 0.0:  # NaN until full
                value = tied_rank(state, rank_at, window, m2 if m2 > least else 0.0)
        previous = price
        out[0, i] = value
    state[0] = previous


SPEC = KernelSpec(
    name="volatility_percentile",
    kernel=volatility_percentile,
    inputs=("close",),
    params=(Param("length", 20, 2, 100_000), Param("window", 100, 2, 5_000)),
    outputs=("",),
    state_size=lambda length, window: 1 + anchored_size(length) + rank_size(window),
    lookback=lambda length, window: length + window,
    warmup=lambda length, window: length + window,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction",
    gap=GAP,
    reference="M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33(3), 1945: mid-ranks",
)
