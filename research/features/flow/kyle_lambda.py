"""Price impact: regression of returns on taker flow. Registered in the catalogue as ``kyle_lambda``."""

from __future__ import annotations

import math

from research.features.flow.shares import taker_delta
from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL, comoments_size, windowed_comoments
from research.kernel import FloatArray, KernelSpec, Param, kernel

LEAST_DEVIATION = 1e-14  # of a log return: what the rounding of equal ones leaves


@kernel
def kyle_lambda(
    close: FloatArray,
    taker_buy_volume: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance Kyle's lambda (price impact): slope of one-bar log returns against the delta of the same bar.

    .. math::

        r_i = a + \lambda \, \delta_i + e_i, \qquad
        \lambda = \frac{\sum (\delta_i - \bar\delta)(r_i - \bar r)}{\sum (\delta_i - \bar\delta)^2}

    over the last ``length`` bars.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    length : int
        Returns in the window.
    state : (8 + 5 length,) array
        Close of the bar before (0: none); then as ``windowed_comoments``.
    out : (3, n) array
        ``slope``: :math:`\lambda`, log return per unit of base. ``impact``: log return that comes with one standard
        deviation of delta. ``correlation``: of the two, in [-1, 1]. NaN until ``length`` returns were seen, 0 where
        either side does not vary.

    Notes
    -----
    ``impact`` is comparable between symbols and years, ``slope`` is not.
    """
    previous = state[0]
    least = length * LEAST_DEVIATION * LEAST_DEVIATION
    for i in range(close.shape[0]):
        price, bought, traded = close[i], taker_buy_volume[i], volume[i]
        out[0, i] = out[1, i] = out[2, i] = math.nan
        if not (is_price(price) and is_volume(bought) and is_volume(traded)):
            continue
        if previous > 0.0:
            flow = taker_delta(bought, traded)
            _, _, m2_x, m2_y, product = windowed_comoments(state, 1, length, flow, math.log(price / previous))
            if m2_x >= 0.0:  # NaN until full
                root_x, root_y = math.sqrt(m2_x), math.sqrt(m2_y)
                together = 0.0
                if root_x > 0.0 and m2_y > least:
                    together = min(max(product / root_x / root_y, -1.0), 1.0)
                out[0, i] = together * (root_y / root_x) if root_x > 0.0 else 0.0
                out[1, i] = together * root_y / math.sqrt(length - 1.0)
                out[2, i] = together
        previous = price
    state[0] = previous


SPEC = KernelSpec(
    name="kyle_lambda",
    kernel=kyle_lambda,
    inputs=("close", "taker_buy_volume", "volume"),
    params=(Param("length", 60, 3, 100_000),),
    outputs=("slope", "impact", "correlation"),
    state_size=lambda length: 1 + comoments_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="log return per base; log return; correlation",
    gap=GAP,
    reference=(
        "A. S. Kyle, Continuous Auctions and Insider Trading, Econometrica 53(6), 1985; "
        "J. Hasbrouck, Trading Costs and Returns for U.S. Equities, Journal of Finance 64(3), 2009"
    ),
)
