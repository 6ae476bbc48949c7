"""Proportions of each candle. Registered in the catalogue as ``candle_shape``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def candle_shape(
    open: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, state: FloatArray, out: FloatArray
) -> None:
    r"""Give the candle shape: body, wicks and the place of the close as shares of the bar's range.

    .. math::

        \frac{c - o}{h - l}, \qquad \frac{h - \max(o, c)}{h - l}, \qquad \frac{\min(o, c) - l}{h - l}, \qquad
        \frac{c - l}{h - l}

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    state : (0,) array
        Nothing.
    out : (4, n) array
        Body in [-1, 1], above zero when the bar rose; upper wick and lower wick in [0, 1]; close location in [0, 1],
        0 at the low and 1 at the high. A bar without a range gives 0, 0, 0 and 0.5.
    """
    for i in range(close.shape[0]):
        first, top, bottom, last = open[i], high[i], low[i], close[i]
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(last)):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        reach = top - bottom
        if reach == 0.0:
            out[0, i] = out[1, i] = out[2, i] = 0.0
            out[3, i] = 0.5
            continue
        out[0, i] = (last - first) / reach
        out[1, i] = (top - max(first, last)) / reach
        out[2, i] = (min(first, last) - bottom) / reach
        out[3, i] = (last - bottom) / reach


SPEC = KernelSpec(
    name="candle_shape",
    kernel=candle_shape,
    inputs=("open", "high", "low", "close"),
    params=(),
    outputs=("body", "upper_wick", "lower_wick", "close_location"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="fraction of the bar's range",
    gap=GAP,
    reference="definition",
)
