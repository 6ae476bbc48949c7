"""Ichimoku cloud as it is known now. Registered in the catalogue as ``ichimoku``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def ichimoku(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    conversion: int,
    base: int,
    span: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Ichimoku cloud (Kinko Hyo): its lines, and the close against them, as the newest bar knows them.

    .. math::

        M_{n,t} = \tfrac{1}{2} \Big( \max_{i < n} h_{t-i} + \min_{i < n} l_{t-i} \Big), \qquad
        A_t = \tfrac{1}{2} (M_{conversion,t-base} + M_{base,t-base}), \qquad B_t = M_{span,t-base}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    conversion : int
        Bars in the window of the conversion line (tenkan-sen).
    base : int
        Bars in the window of the base line (kijun-sen); also how many bars ahead the spans are drawn, and how many
        bars back the lagging line.
    span : int
        Bars in the window of the second span (senkou span B).
    state : (11 + 2 conversion + 5 base + 2 span,) array
        The three windows, as ``_midpoints``; bars taken, up to the lookback; place of the oldest in the three rings of
        ``base`` bars that follow: first spans, second spans, closes.
    out : (6, n) array
        Conversion line and base line; the two spans drawn at this bar, all in quote currency; position of the close, 1
        above the cloud between the spans, -1 below it, in between from one edge to the other, 0 where both and the
        close are equal; change of the close over the last ``base`` bars as a fraction. NaN until the oldest span is
        known.

    Notes
    -----
    A chart draws the spans ``base`` bars ahead of the bar that they are made from. What stands over the newest bar is
    therefore ``base`` bars old, and that is given here; what is made of the newest bar is not seen until later. The
    lagging line is the close drawn ``base`` bars back, where it would be the future: what it is compared with on a
    chart, the close of then, is what the newest close is compared with here.

    The spans are drawn ``base`` bars ahead, 26 with the default. TradingView counts the newest bar as the first of them
    and shifts by displacement - 1, 25 with its default: the same spans stand here one bar later.
    """
    at_base = 3 + 2 * conversion
    at_span = at_base + 3 + 2 * base
    at_delay = at_span + 3 + 2 * span
    _midpoints(high, low, close, conversion, state[:at_base], out[0])
    _midpoints(high, low, close, base, state[at_base:at_span], out[1])
    _midpoints(high, low, close, span, state[at_span:at_delay], out[3])
    ready = max(conversion, base, span) + base
    seen, slot = int(state[at_delay]), max(0, int(state[at_delay + 1]))
    spans_a, spans_b = state[at_delay + 2 : at_delay + 2 + base], state[at_delay + 2 + base : at_delay + 2 + 2 * base]
    closes = state[at_delay + 2 + 2 * base :]
    for i in range(close.shape[0]):
        price = close[i]
        if not (is_price(high[i]) and is_price(low[i]) and is_price(price)):
            for row in range(6):
                out[row, i] = math.nan
            continue
        span_a, span_b, ago = spans_a[slot], spans_b[slot], closes[slot]
        spans_a[slot], spans_b[slot], closes[slot] = 0.5 * (out[0, i] + out[1, i]), out[3, i], price
        slot = slot + 1 if slot + 1 < base else 0
        seen = min(seen + 1, ready)
        if seen < ready:
            for row in range(6):
                out[row, i] = math.nan
            continue
        roof, floor = max(span_a, span_b), min(span_a, span_b)
        if price > roof:
            position = 1.0
        elif price < floor:
            position = -1.0
        else:
            position = 2.0 * (price - floor) / (roof - floor) - 1.0 if roof > floor else 0.0
        out[2, i], out[3, i] = span_a, span_b
        out[4, i], out[5, i] = position, price / ago - 1.0
    state[at_delay], state[at_delay + 1] = seen, slot


@kernel
def _midpoints(
    high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, middle: FloatArray
) -> None:
    """Advance the middle between the highest high and the lowest low of the last ``length`` bars.

    Leaves what it finds in ``middle`` where a bar cannot be read, and gives no meaning to it before the window is full.
    The state holds bars in the block under way, its highest high and lowest low, and its highs and lows, in the places
    that it has not reached the extremes of the block before from there on, as in ``windowed_extremes``, which called at
    every bar takes 6 ns more.
    """
    taken, best_high, best_low = max(0, int(state[0])), state[1], state[2]
    if taken == 0:
        best_high, best_low = 0.0, 2.0 * CEILING
    highs, lows = state[3 : 3 + length], state[3 + length :]
    for i in range(close.shape[0]):
        top, bottom = high[i], low[i]
        if not (is_price(top) and is_price(bottom) and is_price(close[i])):
            continue
        highs[taken], lows[taken] = top, bottom
        best_high, best_low = max(top, best_high), min(bottom, best_low)
        taken += 1
        if taken < length:
            middle[i] = 0.5 * (max(highs[taken], best_high) + min(lows[taken], best_low))
            continue
        middle[i] = 0.5 * (best_high + best_low)
        best_high, best_low = 0.0, 2.0 * CEILING
        for j in range(length - 1, -1, -1):
            best_high, best_low = max(highs[j], best_high), min(lows[j], best_low)
            highs[j], lows[j] = best_high, best_low
        taken, best_high, best_low = 0, 0.0, 2.0 * CEILING
    if taken == 0:  # no block under way: nothing to remember of it
        best_high, best_low = 0.0, 0.0
    state[0], state[1], state[2] = taken, best_high, best_low


def _state_size(conversion: int, base: int, span: int) -> int:
    return 11 + 2 * (conversion + base + span) + 3 * base


SPEC = KernelSpec(
    name="ichimoku",
    kernel=ichimoku,
    inputs=("high", "low", "close"),
    params=(Param("conversion", 9, 1, 100_000), Param("base", 26, 1, 100_000), Param("span", 52, 1, 100_000)),
    outputs=("conversion", "base", "span_a", "span_b", "position", "lagging"),
    state_size=_state_size,
    lookback=lambda conversion, base, span: max(conversion, base, span) + base,
    warmup=lambda conversion, base, span: max(conversion, base, span) + base,
    warmup_rtol=0.0,
    unit="quote; position in [-1, 1]; lagging as a fraction",
    gap=GAP,
    reference="G. Hosoda, Ichimoku Kinko Hyo, 1969",
)
