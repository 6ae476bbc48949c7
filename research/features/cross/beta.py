"""Regression of log returns on a reference's: beta, alpha and what is left. Registered in the catalogue as ``beta``."""

from __future__ import annotations

import math

from research.features.cross.pair_sums import COLUMNS, deviations, fold_block, rows_size
from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def beta(close: FloatArray, reference_close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the beta, alpha and residual volatility of one-bar log returns against those of a reference.

    .. math::

        y_i = \alpha + \beta x_i + e_i, \qquad
        \beta = \frac{\sum (x_i - \bar x)(y_i - \bar y)}{\sum (x_i - \bar x)^2}, \qquad
        \alpha = \bar y - \beta \bar x, \qquad s^2 = \frac{\sum e_i^2}{length - 2}

    over the last ``length`` returns, y of the close and x of the reference.

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    state : (9 + 5 length,) array
        As ``correlation``, with y the log return less that of the reference.
    out : (3, n) array
        ``beta``: return per return of the reference, 0 where the reference does not vary. ``alpha``: log return of one
        bar. ``residual``: standard deviation s of the log return that the reference does not explain. NaN until
        ``length`` returns were seen.

    Notes
    -----
    The line is fitted to :math:`y - x`, whose slope is :math:`\beta - 1`: a jump that both markets made would otherwise
    swallow the digits of a residual a million times smaller. TA-Lib's BETA is the slope of simple returns.
    """
    rows = 9
    weight = 1.0 / length
    previous, reference_previous, taken, full = state[0], state[1], int(state[2]), state[3]
    x_sum, y_sum, xx_sum, yy_sum, xy_sum = state[4], state[5], state[6], state[7], state[8]
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        if previous > 0.0:
            x = math.log(reference / reference_previous)
            y = math.log(price / previous) - x
            at = rows + COLUMNS * taken
            state[at], state[at + 1] = x, y
            x_sum += x
            y_sum += y
            xx_sum += x * x
            yy_sum += y * y
            xy_sum += x * y
            taken += 1
            at += COLUMNS
            if taken == length:
                fold_block(state, rows, length)
                taken, full, at = 0, 1.0, rows
                x_sum, y_sum, xx_sum, yy_sum, xy_sum = 0.0, 0.0, 0.0, 0.0, 0.0
            if full > 0.0:
                x_total, y_total = x_sum + state[at], y_sum + state[at + 1]
                x_mean, y_mean = x_total * weight, y_total * weight
                m2_x = deviations(x_total, xx_sum + state[at + 2], x_mean)
                m2_y = deviations(y_total, yy_sum + state[at + 3], y_mean)
                product = xy_sum + state[at + 4] - x_total * y_mean
                slope = product / m2_x if m2_x > 0.0 else -1.0
                left = m2_y - slope * product if m2_x > 0.0 else m2_y
                out[0, i] = 1.0 + slope
                out[1, i] = y_mean - slope * x_mean
                out[2, i] = math.sqrt(max(left, 0.0) / (length - 2))
        previous, reference_previous = price, reference
    state[0], state[1], state[2], state[3] = previous, reference_previous, taken, full
    state[4], state[5], state[6], state[7], state[8] = x_sum, y_sum, xx_sum, yy_sum, xy_sum


SPEC = KernelSpec(
    name="beta",
    kernel=beta,
    inputs=("close", "reference.close"),
    params=(Param("length", 60, 5, 100_000),),
    outputs=("beta", "alpha", "residual"),
    state_size=lambda length: 9 + rows_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="return per return; log return of one bar; its standard deviation",
    gap=GAP,
    reference="W. F. Sharpe, A Simplified Model for Portfolio Analysis, Management Science 9(2), 1963",
)
