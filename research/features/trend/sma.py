"""Simple moving average of the close. Registered in the catalogue as ``sma``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def sma(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the simple moving average (SMA): the mean of the last ``length`` closes.

    .. math::

        m_t = \frac{1}{length} \sum_{i=0}^{length-1} c_{t-i}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars in the window.
    state : (4 + length,) array
        Closes in the block under way; 1 once a block is complete; the anchor; the sum of the block's differences from
        it; the closes of the block and, in the places that it has not reached, the suffix sums of the block before.
    out : (1, n) array
        Quote currency; NaN until the window is full.

    Notes
    -----
    The window is the suffix of one block of ``length`` closes joined with the prefix of the next, so that nothing is
    ever subtracted from a running total and what has left the window leaves no rounding behind. Closes are summed as
    differences from an *anchor*, the last close of the block before: of equal closes the average is that close to
    the bit. A suffix sum is made of the one two closes on, which halves the chain of additions (0.2 ns per bar).
    """
    taken, full, anchor, prefix = max(0, int(state[0])), state[1], state[2], state[3]
    ring = state[4:]
    weight = 1.0 / length
    scale = weight if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        ring[taken] = price
        prefix += price - anchor
        taken += 1
        if taken < length:
            out[0, i] = anchor + (prefix + ring[taken]) * scale
            continue
        total = 0.0
        for j in range(length - 1, 0, -2):
            newer = ring[j] - price
            pair = newer + (ring[j - 1] - price)
            ring[j] = total + newer
            total += pair
            ring[j - 1] = total
        if length % 2 == 1:
            total += ring[0] - price
            ring[0] = total
        out[0, i] = price + total * weight
        taken, full, anchor, prefix, scale = 0, 1.0, price, 0.0, weight
    state[0], state[1], state[2], state[3] = taken, full, anchor, prefix


SPEC = KernelSpec(
    name="sma",
    kernel=sma,
    inputs=("close",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 4 + length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote",
    gap=GAP,
    reference="definition; TA-Lib SMA",
)
