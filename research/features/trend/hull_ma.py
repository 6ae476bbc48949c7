"""Hull's moving average of the close. Registered in the catalogue as ``hull_ma``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def hull_ma(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the Hull moving average (HMA): a weighted average of one that was pushed ahead by its lag.

    .. math::

        h_t = wma_{r}\!\left(2\, wma_{\lfloor length / 2 \rfloor}(c) - wma_{length}(c)\right)_t,
        \qquad r = \lfloor \sqrt{length} + \tfrac{1}{2} \rfloor

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars of the long average.
    state : (13 + half + length + root,) array
        Closes taken, up to the lookback; then of the half, the whole and the root window each: samples in the block
        under way, anchor, plain and weighted sum; then their three rings, all as in ``wma``.
    out : (1, n) array
        Quote currency; NaN until the last of the three windows is full. May leave the range of the closes, and fall
        below zero after a crash.

    Notes
    -----
    Hull names half the length and its square root without saying how to round them: here half is rounded down and the
    root to the nearest whole number. TA-Lib's HMA rounds the root down as well: a window shorter by one where the
    root's fraction is one half or more.
    """
    half, root = length // 2, int(math.sqrt(length) + 0.5)
    width_h, width_n, width_r = float(half), float(length), float(root)
    weight_h, weight_n = 2.0 / (width_h * (width_h + 1.0)), 2.0 / (width_n * (width_n + 1.0))
    weight_r = 2.0 / (width_r * (width_r + 1.0))
    ring_h, ring_n, ring_r = state[13 : 13 + half], state[13 + half : 13 + half + length], state[13 + half + length :]
    seen, ready = int(state[0]), length + root - 1
    at_h, anchor_h, plain_h, weighted_h = max(0, int(state[1])), state[2], state[3], state[4]
    at_n, anchor_n, plain_n, weighted_n = max(0, int(state[5])), state[6], state[7], state[8]
    at_r, anchor_r, plain_r, weighted_r = max(0, int(state[9])), state[10], state[11], state[12]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        ring_h[at_h] = price
        ring_n[at_n] = price
        at_h += 1
        at_n += 1
        weighted_h += width_h * (price - anchor_h) - plain_h
        plain_h += price - anchor_h
        weighted_n += width_n * (price - anchor_n) - plain_n
        plain_n += price - anchor_n
        if at_h < half:
            fast = anchor_h + (weighted_h + ring_h[at_h]) * weight_h
        else:
            plain, weighted = 0.0, 0.0
            for j in range(half - 1, -1, -1):
                plain += ring_h[j] - price
                weighted += plain
                ring_h[j] = weighted
            fast = price + weighted * weight_h
            at_h, anchor_h, plain_h, weighted_h = 0, price, 0.0, 0.0
        if at_n < length:
            slow = anchor_n + (weighted_n + ring_n[at_n]) * weight_n
        else:
            plain, weighted = 0.0, 0.0
            for j in range(length - 1, -1, -1):
                plain += ring_n[j] - price
                weighted += plain
                ring_n[j] = weighted
            slow = price + weighted * weight_n
            at_n, anchor_n, plain_n, weighted_n = 0, price, 0.0, 0.0
        if seen < ready:
            seen += 1
        if seen < length:
            out[0, i] = math.nan
            continue
        ahead = fast + (fast - slow)
        ring_r[at_r] = ahead
        at_r += 1
        weighted_r += width_r * (ahead - anchor_r) - plain_r
        plain_r += ahead - anchor_r
        if at_r < root:
            value = anchor_r + (weighted_r + ring_r[at_r]) * weight_r
        else:
            plain, weighted = 0.0, 0.0
            for j in range(root - 1, -1, -1):
                plain += ring_r[j] - ahead
                weighted += plain
                ring_r[j] = weighted
            value = ahead + weighted * weight_r
            at_r, anchor_r, plain_r, weighted_r = 0, ahead, 0.0, 0.0
        out[0, i] = value if seen == ready else math.nan
    state[0] = seen
    state[1], state[2], state[3], state[4] = at_h, anchor_h, plain_h, weighted_h
    state[5], state[6], state[7], state[8] = at_n, anchor_n, plain_n, weighted_n
    state[9], state[10], state[11], state[12] = at_r, anchor_r, plain_r, weighted_r


def _state_size(length: int) -> int:
    return 13 + length // 2 + length + int(math.sqrt(length) + 0.5)


def _lookback(length: int) -> int:
    return length + int(math.sqrt(length) + 0.5) - 1


SPEC = KernelSpec(
    name="hull_ma",
    kernel=hull_ma,
    inputs=("close",),
    params=(Param("length", 20, 2, 100_000),),
    outputs=("",),
    state_size=_state_size,
    lookback=_lookback,
    warmup=_lookback,
    warmup_rtol=WINDOW_RTOL,
    unit="quote",
    gap=GAP,
    reference="A. Hull, Hull Moving Average, alanhull.com, 2005",
)
