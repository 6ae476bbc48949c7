"""Exponential moving average of the close. Registered in the catalogue as ``ema``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, exponential_lag, exponential_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def ema(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the exponential moving average (EMA), seeded with the mean of the first ``length`` closes.

    .. math::

        e_t = e_{t-1} + \tfrac{2}{length + 1} \, (c_t - e_{t-1})

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars of the seed; also sets the decay.
    state : (3,) array
        Closes taken, up to ``length``; their sum, then the average less the newest close; that close.
    out : (1, n) array
        Quote currency; NaN before the seed is complete.
    """
    keep = (length - 1.0) / (length + 1.0)
    count, lag, previous = int(state[0]), state[1], state[2]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        count, lag = exponential_lag(count, lag, length, keep, price, previous)
        previous = price
        out[0, i] = price + lag if count == length else math.nan
    state[0], state[1], state[2] = count, lag, previous


SPEC = KernelSpec(
    name="ema",
    kernel=ema,
    inputs=("close",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 3,
    lookback=lambda length: length,
    warmup=exponential_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="TA-Lib EMA (seed: simple average of the first length closes)",
)
