"""Wilder's parabolic stop and reverse. Registered in the catalogue as ``parabolic_sar``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel


@kernel
def parabolic_sar(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    acceleration: float,
    maximum: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the parabolic SAR (stop and reverse): a stop that follows a trend ever faster, until it is touched.

    .. math::

        s_{t+1} = \min\left(s_t + a_t \, (x_t - s_t),\; l_t,\; l_{t-1}\right)

    while long, with :math:`x` the highest high since the reversal and :math:`a` a factor that starts at
    ``acceleration`` and grows by as much with every new high, up to ``maximum``. When a low touches the stop, the next
    one is counted from :math:`x`. While short everything is mirrored.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    acceleration : float
        First value and step of the factor.
    maximum : float
        Bound of the factor.
    state : (6,) array
        Side of the stop for the next bar (1 long, -1 short, 0: not started); then that stop, the extreme and the
        factor; high and low of the bar before (0: none). Stop and extreme are held with the sign of the side: in a
        mirror a short position is a long one.
    out : (3, n) array
        Level of the stop in quote currency; direction, 1 or -1, after a reversal at this bar; close less level as
        a fraction of the close. NaN at the first bar.

    Notes
    -----
    Starts as in TA-Lib, at the second bar: short if the low fell, and by more than the high rose, else long, with the
    first bar's other end for a stop; and the second bar stands in for the bar before itself.

    No number of bars is sure to forget the start, since a stop that is not touched still counts from it. On a random
    walk two starts have met after some 40 bars.
    """
    first = min(acceleration, maximum)
    side, level, extreme, factor = state[0], state[1], state[2], state[3]
    top_before, bottom_before = state[4], state[5]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        if side == 0.0:
            if top_before == 0.0:
                out[0, i] = out[1, i] = out[2, i] = math.nan
                top_before, bottom_before = top, bottom
                continue
            fell = bottom_before - bottom
            side = -1.0 if fell > 0.0 and fell > top - top_before else 1.0
            level, extreme = (bottom_before, top) if side > 0.0 else (-top_before, -bottom)
            factor, top_before, bottom_before = first, top, bottom
        near, far = (bottom, top) if side > 0.0 else (-top, -bottom)
        near_before, far_before = (bottom_before, top_before) if side > 0.0 else (-top_before, -bottom_before)
        if near <= level:
            side = -side
            shown = -max(extreme, far_before, far)
            extreme, factor = -near, first
            level = min(shown + factor * (extreme - shown), -far_before, -far)
        else:
            shown = level
            if far > extreme:
                extreme, factor = far, min(factor + acceleration, maximum)
            level = min(level + factor * (extreme - level), near_before, near)
        top_before, bottom_before = top, bottom
        stop = side * shown
        out[0, i], out[1, i], out[2, i] = stop, side, (price - stop) / price
    state[0], state[1], state[2], state[3] = side, level, extreme, factor
    state[4], state[5] = top_before, bottom_before


SPEC = KernelSpec(
    name="parabolic_sar",
    kernel=parabolic_sar,
    inputs=("high", "low", "close"),
    params=(Param("acceleration", 0.02, 0.0, 1.0), Param("maximum", 0.2, 0.0, 1.0)),
    outputs=("level", "direction", "distance"),
    state_size=lambda acceleration, maximum: 6,
    lookback=lambda acceleration, maximum: 2,
    warmup=lambda acceleration, maximum: UNBOUNDED,
    warmup_rtol=0.0,
    unit="quote; direction 1 or -1; distance as a fraction of the close",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib SAR",
)
