"""Linearly weighted moving average of the close. Registered in the catalogue as ``wma``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def wma(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the weighted moving average (WMA): linear weights, ``length`` for the newest close and 1 for the oldest.

    .. math::

        m_t = \frac{2}{length \, (length + 1)} \sum_{i=0}^{length-1} (length - i) \, c_{t-i}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars in the window.
    state : (5 + length,) array
        Closes in the block under way; 1 once a block is complete; the anchor; the plain and the weighted sum of the
        block's differences from it; the closes of the block and, in the places that it has not reached, the weighted
        suffix sums of the block before.
    out : (1, n) array
        Quote currency; NaN until the window is full.

    Notes
    -----
    Blocks, anchor and the steps of two are those of ``sma``. With each close the weights of those before fall by one,
    that is the weighted sum by the plain one.
    """
    taken, full, anchor, plain, weighted = max(0, int(state[0])), state[1], state[2], state[3], state[4]
    ring = state[5:]
    newest = float(length)
    weight = 2.0 / (newest * (newest + 1.0))
    scale = weight if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        ring[taken] = price
        weighted += newest * (price - anchor) - plain
        plain += price - anchor
        taken += 1
        if taken < length:
            out[0, i] = anchor + (weighted + ring[taken]) * scale
            continue
        plain, weighted = 0.0, 0.0
        for j in range(length - 1, 0, -2):
            newer = ring[j] - price
            pair = newer + (ring[j - 1] - price)
            before = plain + newer
            plain += pair
            ring[j] = weighted + before
            weighted += before + plain
            ring[j - 1] = weighted
        if length % 2 == 1:
            weighted += plain + (ring[0] - price)
            ring[0] = weighted
        out[0, i] = price + weighted * weight
        taken, full, anchor, plain, weighted, scale = 0, 1.0, price, 0.0, 0.0, weight
    state[0], state[1], state[2], state[3], state[4] = taken, full, anchor, plain, weighted


SPEC = KernelSpec(
    name="wma",
    kernel=wma,
    inputs=("close",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 5 + length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote",
    gap=GAP,
    reference="definition; TA-Lib WMA",
)
