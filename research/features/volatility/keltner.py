"""Keltner's channel around an exponential average of the close. Registered in the catalogue as ``keltner``."""

from __future__ import annotations

import math

from research.features.smoothing import (
    RECURSIVE_RTOL,
    exponential_lag,
    exponential_warmup,
    wilder_average,
    wilder_warmup,
)
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

LEAST_RANGE = 1e-6  # fraction of the close: where a market stands still, a position has to be measured by something


@kernel
def keltner(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    atr_length: int,
    factor: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Keltner channel: average true ranges around an exponential average, and the place of the close.

    .. math::

        u_t = e_t + f a_t, \qquad l_t = e_t - f a_t, \qquad
        p_t = \frac{1}{2} + \frac{c_t - e_t}{2 f \max(a_t, 10^{-6} c_t)}

    with :math:`e` the exponential average of the close (``ema``) and :math:`a` the average true range (``atr``).

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Bars of the exponential average.
    atr_length : int
        True ranges of the average range.
    factor : float
        Average ranges from the middle to either side.
    state : (5,) array
        Close of the bar before (0: none); closes taken, up to ``length``; their sum, then the average less the newest
        close; true ranges taken, up to ``atr_length``; their sum, then their average.
    out : (4, n) array
        Upper side, middle, lower side, in quote currency; position of the close, 0 at the lower side and 1 at the
        upper, without bounds, 0.5 where no price has moved. NaN until both averages have their seed.

    Notes
    -----
    The form of L. Raschke: C. Keltner's own of 1960 takes simple averages of the typical price and of the range.
    """
    keep = (length - 1.0) / (length + 1.0)
    weight = 1.0 / atr_length
    previous, count, lag, ranges, level = state[0], int(state[1]), state[2], int(state[3]), state[4]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        count, lag = exponential_lag(count, lag, length, keep, price, previous)
        if previous > 0.0:
            true_range = max(top, previous) - min(bottom, previous)
            ranges, level = wilder_average(ranges, level, atr_length, weight, true_range)
        previous = price
        if count < length or ranges < atr_length:
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        reach = factor * level
        out[0, i] = price + lag + reach
        out[1, i] = price + lag
        out[2, i] = price + lag - reach
        out[3, i] = 0.5 - 0.5 * lag / (factor * max(level, LEAST_RANGE * price))
    state[0], state[1], state[2], state[3], state[4] = previous, count, lag, ranges, level


SPEC = KernelSpec(
    name="keltner",
    kernel=keltner,
    inputs=("high", "low", "close"),
    params=(Param("length", 20, 1, 100_000), Param("atr_length", 10, 1, 100_000), Param("factor", 2.0, 0.1, 10.0)),
    outputs=("upper", "middle", "lower", "position"),
    state_size=lambda length, atr_length, factor: 5,
    lookback=lambda length, atr_length, factor: max(length, atr_length + 1),
    warmup=lambda length, atr_length, factor: max(exponential_warmup(length), wilder_warmup(atr_length) + 1),
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote; position: fraction",
    gap=GAP,
    reference="C. W. Keltner, How to Make Money in Commodities, 1960; in L. Bradford Raschke's exponential form",
)
