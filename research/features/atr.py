"""Average true range after Wilder. Registered in the catalogue as ``atr``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, wilder_average, wilder_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def atr(high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the average true range.

    .. math::

        TR_t = \max(h_t, c_{t-1}) - \min(l_t, c_{t-1}), \qquad
        a_t = a_{t-1} + \tfrac{1}{length} \, (TR_t - a_{t-1})

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Bars of the seed; also sets the decay.
    state : (3,) array
        Close of the bar before (0: none); true ranges taken, up to ``length``; their sum, then the average.
    out : (1, n) array
        Quote currency; NaN before the seed is complete. 0 as long as no price has moved.

    Notes
    -----
    The first bar has no close before it and gives no true range, as in TA-Lib: the seed is the mean of the ranges
    of bars 2 to ``length + 1``.
    """
    weight = 1.0 / length
    previous, count, level = state[0], int(state[1]), state[2]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = math.nan
            continue
        if previous > 0.0:
            true_range = max(top, previous) - min(bottom, previous)
            count, level = wilder_average(count, level, length, weight, true_range)
        previous = price
        out[0, i] = level if count == length else math.nan
    state[0], state[1], state[2] = previous, count, level


SPEC = KernelSpec(
    name="atr",
    kernel=atr,
    inputs=("high", "low", "close"),
    params=(Param("length", 14, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 3,
    lookback=lambda length: length + 1,
    warmup=lambda length: wilder_warmup(length) + 1,
    warmup_rtol=RECURSIVE_RTOL,
    unit="quote",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib ATR",
)
