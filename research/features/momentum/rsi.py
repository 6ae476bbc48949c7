"""Relative strength index after Wilder. Registered in the catalogue as ``rsi``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, wilder_average, wilder_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rsi(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the relative strength index (RSI) after Wilder.

    .. math::

        RSI_t = 100 \, \frac{g_t}{g_t + l_t}

    with :math:`g` and :math:`l` the Wilder averages (weight ``1 / length``, seeded with the mean of the first
    ``length`` changes) of the rises and of the falls of the close.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Changes in the seed; also sets the decay.
    state : (4,) array
        Close of the bar before (0: none); changes taken, up to ``length``; sum, then average, of rises; of falls.
    out : (1, n) array
        In [0, 100]; NaN before the seed is complete. 50 as long as no price has moved.

    Notes
    -----
    TA-Lib calls any total change below 1e-14 zero and then answers 0, "as oversold as can be": with a coin at
    1e-8 quote a whole series. Here only an exact zero is one, and it is neutral.
    """
    weight = 1.0 / length
    previous, count, rise, fall = state[0], int(state[1]), state[2], state[3]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        if previous > 0.0:
            change = price - previous
            _, rise = wilder_average(count, rise, length, weight, max(change, 0.0))
            count, fall = wilder_average(count, fall, length, weight, max(-change, 0.0))
        previous = price
        total = rise + fall
        value = 100.0 * (rise / total) if total > 0.0 else 50.0
        out[0, i] = value if count == length else math.nan
    state[0], state[1], state[2], state[3] = previous, count, rise, fall


SPEC = KernelSpec(
    name="rsi",
    kernel=rsi,
    inputs=("close",),
    params=(Param("length", 14, 2, 100_000),),
    outputs=("",),
    state_size=lambda length: 4,
    lookback=lambda length: length + 1,
    warmup=lambda length: wilder_warmup(length) + 1,
    warmup_rtol=RECURSIVE_RTOL,
    unit="0 to 100",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib RSI",
)
