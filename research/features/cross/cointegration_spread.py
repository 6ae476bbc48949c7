"""Rolling regression of one log price on another: the spread of a pair. Registered as ``cointegration_spread``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import comoments_size, sum_size, windowed_comoments, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Below this share of the variance, what is left of a line is the rounding of its sums.
LEAST_SHARE = 1e-10
LEAST_PHI = 0.05  # a half-life below a quarter of a bar


@kernel
def cointegration_spread(
    close: FloatArray, reference_close: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the cointegration spread of a pair: hedge ratio, residual of log prices, z-score and half-life.

    .. math::

        \ln c_i = a + h \ln c^{ref}_i + e_i, \qquad z_t = \frac{e_t}{\sqrt{\sum e_i^2 / (length - 2)}}

    over the last ``length`` bars. With the Durbin-Watson statistic of the same residuals the half-life of a deviation
    is that of a first-order autoregression:

    .. math::

        D = \frac{\sum (e_i - e_{i-1})^2}{\sum e_i^2}, \qquad \phi = 1 - D / 2, \qquad H = -\frac{\ln 2}{\ln \phi}

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Bars in the window.
    state : (15 + 8 length,) array
        Readable bars taken, up to 1; log close of the reference of the bar before; log ratio of the bar before; as
        ``windowed_comoments`` over ``length``; three times as ``windowed_sum`` over ``length - 1``.
    out : (4, n) array
        ``hedge_ratio``: h, the exposure to the reference that one unit of exposure needs against it, 0 where the
        reference does not move. ``spread``: :math:`e_t`, log price. ``zscore``: the same in residual standard
        deviations, 0 where the line fits exactly. ``half_life``: bars, in [0, length]: 0 where neighbouring residuals
        are not alike, ``length`` where it is longer than that or the line fits exactly. NaN until ``length`` bars were
        seen.

    Notes
    -----
    The line is fitted to the log ratio of the prices, whose slope is :math:`h - 1`: what both prices did then swallows
    no digits of the spread. Below a quarter of a bar the half-life goes straight to 0. This is a measurement, not a
    test: a spread of two random walks also has a half-life.
    """
    pairs, changes = 3, 3 + 7 + 5 * length
    size = 2 + length
    taken, x_before, ratio_before = state[0], state[1], state[2]
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        x, ratio = math.log(reference), math.log(price / reference)
        mean_x, mean, m2_x, m2, product = windowed_comoments(state, pairs, length, x, ratio)
        if taken > 0.0:
            step_x, step = x - x_before, ratio - ratio_before
            steps_xx = windowed_sum(state, changes, length - 1, step_x * step_x)
            steps_x = windowed_sum(state, changes + size, length - 1, step_x * step)
            steps = windowed_sum(state, changes + 2 * size, length - 1, step * step)
            if m2 >= 0.0:  # NaN until full
                slope = -1.0 if m2_x == 0.0 else product / m2_x
                left = m2 - slope * product
                spread = (ratio - mean) - slope * (x - mean_x)
                score, half_life = 0.0, float(length)
                if left > LEAST_SHARE * m2:
                    score = spread / math.sqrt(left / (length - 2))
                    moved = steps - slope * (2.0 * steps_x - slope * steps_xx)
                    phi = 1.0 - 0.5 * moved / left
                    if phi <= 0.0:
                        half_life = 0.0
                    elif phi < 1.0:
                        # Straight below LEAST_PHI: the curve is infinitely steep at 0, where rounding would show.
                        share = min(phi / LEAST_PHI, 1.0)
                        half_life = min(-share * math.log(2.0) / math.log(max(phi, LEAST_PHI)), half_life)
                out[0, i], out[1, i], out[2, i], out[3, i] = 1.0 + slope, spread, score, half_life
        taken, x_before, ratio_before = 1.0, x, ratio
    state[0], state[1], state[2] = taken, x_before, ratio_before


SPEC = KernelSpec(
    name="cointegration_spread",
    kernel=cointegration_spread,
    inputs=("close", "reference.close"),
    params=(Param("length", 240, 10, 100_000),),
    outputs=("hedge_ratio", "spread", "zscore", "half_life"),
    state_size=lambda length: 3 + comoments_size(length) + 3 * sum_size(length - 1),
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=1e-7,  # the residual of a line through prices that hardly move has lost that many digits
    unit="exposure per exposure; log price; standard deviations; bars",
    gap=GAP,
    reference=(
        "R. F. Engle, C. W. J. Granger, Co-Integration and Error Correction, Econometrica 55(2), 1987; "
        "J. Durbin, G. S. Watson, Testing for Serial Correlation in Least Squares Regression, Biometrika 37, 1950"
    ),
)
