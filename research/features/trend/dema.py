"""Double exponential moving average of the close. Registered in the catalogue as ``dema``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL
from research.features.trend.cascade import bars_to_forget_through, cascade_lag
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def dema(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the double exponential moving average (DEMA): one from which its own average's lag is taken.

    .. math::

        d_t = 2 e_t - ema(e)_t, \qquad e = ema(c)

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars of each seed; also sets the decay.
    state : (5,) array
        Newest close; then count and lag of the average and of the average of it, as ``cascade_lag``.
    out : (1, n) array
        Quote currency; NaN before the second seed is complete.
    """
    keep = (length - 1.0) / (length + 1.0)
    previous = state[0]
    count, lag = int(state[1]), state[2]
    count_twice, lag_twice = int(state[3]), state[4]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        count, lag, fall = cascade_lag(count, lag, length, keep, price, previous - price)
        previous = price
        if count == length:
            count_twice, lag_twice, _ = cascade_lag(count_twice, lag_twice, length, keep, price + lag, fall)
        if count_twice == length:
            out[0, i] = price + (lag - lag_twice)
        else:
            out[0, i] = math.nan
    state[0] = previous
    state[1], state[2] = count, lag
    state[3], state[4] = count_twice, lag_twice


def _warmup(length: int) -> int:
    return 2 * length - 1 + bars_to_forget_through((length - 1) / (length + 1), 2)


SPEC = KernelSpec(
    name="dema",
    kernel=dema,
    inputs=("close",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 5,
    lookback=lambda length: 2 * length - 1,
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="P. G. Mulloy, Smoothing Data with Faster Moving Averages, "
    "Technical Analysis of Stocks & Commodities 12(1), 1994; TA-Lib DEMA",
)
