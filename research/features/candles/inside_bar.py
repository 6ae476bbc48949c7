"""Bars inside a mother bar, and the way they break out. Registered in the catalogue as ``inside_bar``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def inside_bar(
    high: FloatArray, low: FloatArray, close: FloatArray, max_bars: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the inside bars, their mother bar, and the breakout from it.

    A bar is inside another when its high is lower and its low is higher. The mother of a bar is the oldest one, not
    more than ``max_bars`` bars back, that all bars since are inside of.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    max_bars : int
        Bars after which a mother is forgotten.
    state : (3 + 3 (max_bars + 2),) array
        Bars seen; slot of the oldest of those that all bars since are inside of; their number; ring of their highs,
        of their lows, of their numbers.
    out : (3, n) array
        Inside: 1 if the bar is inside the one before, else 0; count: bars inside the mother, the newest among them, 0
        without a mother, at most ``max_bars``; breakout: 1 when the bar closes above the high of the mother of the bar
        before, -1 when it closes below its low, 0 otherwise. NaN for the first ``max_bars + 1`` bars.

    Notes
    -----
    The bars that all since are inside of lie inside each other, the younger in the older: a new bar drops the youngest
    until it is inside one, so that the work per bar does not grow with ``max_bars``.
    """
    room = max_bars + 2
    highs, lows, numbers = state[3 : 3 + room], state[3 + room : 3 + 2 * room], state[3 + 2 * room : 3 + 3 * room]
    seen, oldest, size = int(state[0]), int(state[1]), int(state[2])
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        seen += 1
        breakout = 0.0
        if size > 1:
            breakout = 1.0 if price > highs[oldest] else -1.0 if price < lows[oldest] else 0.0
            if seen - numbers[oldest] > max_bars:
                oldest = oldest + 1 if oldest + 1 < room else 0
                size -= 1
        before = size
        at = oldest + size
        at = at if at < room else at - room
        while size > 0:
            youngest = at - 1 if at > 0 else room - 1
            if top < highs[youngest] and bottom > lows[youngest]:
                break
            at = youngest
            size -= 1
        inside = before > 0 and size == before
        highs[at], lows[at], numbers[at] = top, bottom, seen
        size += 1
        if seen < max_bars + 2:
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        out[0, i] = 1.0 if inside else 0.0
        out[1, i] = seen - numbers[oldest]
        out[2, i] = breakout
    state[0], state[1], state[2] = seen, oldest, size


SPEC = KernelSpec(
    name="inside_bar",
    kernel=inside_bar,
    inputs=("high", "low", "close"),
    params=(Param("max_bars", 10, 1, 1_000),),
    outputs=("inside", "count", "breakout"),
    state_size=lambda max_bars: 3 + 3 * (max_bars + 2),
    lookback=lambda max_bars: max_bars + 2,
    warmup=lambda max_bars: max_bars + 2,
    warmup_rtol=0.0,
    unit="inside: 0 or 1; count: bars; breakout: -1, 0 or 1",
    gap=GAP,
    reference="T. Crabel, Day Trading with Short Term Price Patterns and Opening Range Breakout, 1990: inside days",
)
