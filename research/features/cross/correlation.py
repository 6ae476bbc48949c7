"""Rolling correlation of log returns with a reference's. Registered in the catalogue as ``correlation``."""

from __future__ import annotations

import math

from research.features.cross.pair_sums import COLUMNS, deviations, fold_block, rows_size
from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def correlation(
    close: FloatArray, reference_close: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the rolling correlation of one-bar log returns with those of a reference.

    .. math::

        \rho_t = \frac{\sum (y_i - \bar y)(x_i - \bar x)}{\sqrt{\sum (y_i - \bar y)^2 \sum (x_i - \bar x)^2}}

    over the last ``length`` returns, y of the close and x of the reference.

    Parameters
    ----------
    close, reference_close : (n,) array
        Quote currency.
    length : int
        Returns in the window: of bars of one minute, 30 are half an hour and 240 are four hours.
    state : (9 + 5 length,) array
        Close of the bar before (0: none), that of the reference; pairs in the block under way; whether a block is
        complete; sums of x, y, their squares and their product over the block under way; rows of the block and, in the
        places that it has not reached, the suffix sums of the block before.
    out : (1, n) array
        Pearson's correlation in [-1, 1]; NaN until ``length`` returns were seen, 0 where either side does not vary.

    Notes
    -----
    A return spans the bars that cannot be read, on both sides the same ones.
    """
    rows = 9
    weight = 1.0 / length
    previous, reference_previous, taken, full = state[0], state[1], int(state[2]), state[3]
    x_sum, y_sum, xx_sum, yy_sum, xy_sum = state[4], state[5], state[6], state[7], state[8]
    for i in range(close.shape[0]):
        price, reference = close[i], reference_close[i]
        out[0, i] = math.nan
        if not (is_price(price) and is_price(reference)):
            continue
        if previous > 0.0:
            x, y = math.log(reference / reference_previous), math.log(price / previous)
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
                scale = math.sqrt(m2_x * m2_y)
                out[0, i] = min(max(product / scale, -1.0), 1.0) if scale > 0.0 else 0.0
        previous, reference_previous = price, reference
    state[0], state[1], state[2], state[3] = previous, reference_previous, taken, full
    state[4], state[5], state[6], state[7], state[8] = x_sum, y_sum, xx_sum, yy_sum, xy_sum


SPEC = KernelSpec(
    name="correlation",
    kernel=correlation,
    inputs=("close", "reference.close"),
    params=(Param("length", 60, 5, 100_000),),
    outputs=("",),
    state_size=lambda length: 9 + rows_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="correlation",
    gap=GAP,
    reference="Pearson's correlation, definition; TA-Lib CORREL, of returns",
)
