"""Triple exponential moving average of the close. Registered in the catalogue as ``tema``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL
from research.features.trend.cascade import bars_to_forget_through, cascade_lag
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def tema(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the triple exponential moving average (TEMA): one from which the lag of averages is taken twice.

    .. math::

        t_t = 3 e_t - 3 e^{(2)}_t + e^{(3)}_t, \qquad e = ema(c), \quad e^{(2)} = ema(e), \quad e^{(3)} = ema(e^{(2)})

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars of each seed; also sets the decay.
    state : (7,) array
        Newest close; then count and lag of the average, of the average of it and of the average of that, as
        ``cascade_lag``.
    out : (1, n) array
        Quote currency; NaN before the third seed is complete.
    """
    keep = (length - 1.0) / (length + 1.0)
    previous = state[0]
    count, lag = int(state[1]), state[2]
    count_twice, lag_twice = int(state[3]), state[4]
    count_thrice, lag_thrice = int(state[5]), state[6]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        count, lag, fall = cascade_lag(count, lag, length, keep, price, previous - price)
        previous = price
        if count == length:
            average = price + lag
            count_twice, lag_twice, fall = cascade_lag(count_twice, lag_twice, length, keep, average, fall)
            if count_twice == length:
                count_thrice, lag_thrice, _ = cascade_lag(
                    count_thrice, lag_thrice, length, keep, average + lag_twice, fall
                )
        if count_thrice == length:
            # Each average is what it averages and a lag: all but one of the seven closes cancel.
            out[0, i] = price + ((lag - lag_twice) - (lag_twice - lag_thrice))
        else:
            out[0, i] = math.nan
    state[0] = previous
    state[1], state[2] = count, lag
    state[3], state[4] = count_twice, lag_twice
    state[5], state[6] = count_thrice, lag_thrice


def _warmup(length: int) -> int:
    return 3 * length - 2 + bars_to_forget_through((length - 1) / (length + 1), 3)


SPEC = KernelSpec(
    name="tema",
    kernel=tema,
    inputs=("close",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 7,
    lookback=lambda length: 3 * length - 2,
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="P. G. Mulloy, Smoothing Data with Less Lag, Technical Analysis of Stocks & Commodities 12(2), 1994; "
    "TA-Lib TEMA",
)
