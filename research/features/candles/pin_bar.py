"""Hammers, shooting stars and other bars with one long wick. Registered in the catalogue as ``pin_bar``."""

from __future__ import annotations

import math

from research.features.candles.trailing_candles import NEAR_BARS, remember, trailing_mean
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def pin_bar(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    wick: float,
    stub: float,
    near: float,
    tail: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the pin bar, hammer and shooting star: bars with one long wick.

    A hammer has a small body at the top of its range, near the low of the bar before. With :math:`b` the body
    :math:`|c - o|`, :math:`r` the range, :math:`\bar b, \bar r` their means over the ``length`` bars before the bar and
    :math:`\bar r^5` that over 5 bars:

    .. math::

        b_t < \bar b_t, \quad \min(o_t, c_t) - l_t > wick \cdot b_t, \quad h_t - \max(o_t, c_t) < stub \cdot \bar r_t,
        \quad \min(o_t, c_t) \le l_{t-1} + near \cdot \bar r^5_{t-1}

    A shooting star is the same upside down. A pin bar has a wick of at least ``tail`` times its own range.

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    length : int
        Bars before the bar whose bodies and ranges say what is small.
    wick : float
        Least length of the long wick, in bodies.
    stub : float
        Limit of the other wick, in mean ranges.
    near : float
        Limit of the way from the body to the extreme of the bar before, in mean ranges of five bars.
    tail : float
        Least share of the range in the wick of a pin bar.
    state : (4 + 4 max(length, 6),) array
        High and low of the bar before; bars taken, up to the lookback; slot of the rings; ring of bodies, twice;
        ring of ranges, twice.
    out : (3, n) array
        Hammer, 0 or 1; shooting star, 0 or 1; pin: the share of the long wick in the range, above zero if it is the
        lower one (bullish) and below zero if the upper (bearish), 0 if neither is long enough, in [-1, 1]. NaN until
        there are bars to compare with.

    Notes
    -----
    With ``wick`` = 1 the hammer is TA-Lib's CDLHAMMER to the bar; Nison asks for 2. TA-Lib's CDLSHOOTINGSTAR wants a
    gap between the bodies, of which there are none in a market that never closes: here the star mirrors the hammer.
    """
    held = max(length, NEAR_BARS + 1)
    needed = max(length, NEAR_BARS + 1) + 1
    bodies, ranges = state[4 : 4 + 2 * held], state[4 + 2 * held : 4 + 4 * held]
    before_high, before_low, count, slot = state[0], state[1], int(state[2]), int(state[3])
    for i in range(close.shape[0]):
        first, top, bottom, last = open[i], high[i], low[i], close[i]
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(last)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        roof, floor = max(first, last), min(first, last)
        body, reach, upper, lower = roof - floor, top - bottom, top - roof, floor - bottom
        if count < needed:
            count += 1
        if count < needed:
            out[0, i] = out[1, i] = out[2, i] = math.nan
        else:
            hammer, star = lower > wick * body, upper > wick * body
            stop = slot + held
            if hammer or star:  # one bar in three: the averages are made only for these
                limit = stub * trailing_mean(ranges, stop, length)
                allowance = near * trailing_mean(ranges, stop - 1, NEAR_BARS)
                small = body < trailing_mean(bodies, stop, length)
                hammer = hammer and small and upper < limit and floor <= before_low + allowance
                star = star and small and lower < limit and roof >= before_high - allowance
            out[0, i] = 1.0 if hammer else 0.0
            out[1, i] = 1.0 if star else 0.0
            pin = 0.0
            if lower > upper and lower >= tail * reach:
                pin = lower / reach
            elif upper > lower and upper >= tail * reach:
                pin = -upper / reach
            out[2, i] = pin
        before_high, before_low = top, bottom
        remember(bodies, slot, held, body)
        remember(ranges, slot, held, reach)
        slot = slot + 1 if slot + 1 < held else 0
    state[0], state[1], state[2], state[3] = before_high, before_low, count, slot


def _lookback(length: int, wick: float, stub: float, near: float, tail: float) -> int:
    return max(length, NEAR_BARS + 1) + 1


SPEC = KernelSpec(
    name="pin_bar",
    kernel=pin_bar,
    inputs=("open", "high", "low", "close"),
    params=(
        Param("length", 10, 1, 1_000),
        Param("wick", 2.0, 0.1, 100.0),
        Param("stub", 0.1, 0.0, 10.0),
        Param("near", 0.2, 0.0, 10.0),
        Param("tail", 0.66, 0.0, 1.0),
    ),
    outputs=("hammer", "shooting_star", "pin"),
    state_size=lambda length, wick, stub, near, tail: 4 + 4 * max(length, NEAR_BARS + 1),
    lookback=_lookback,
    warmup=_lookback,
    warmup_rtol=0.0,
    unit="0 or 1; pin: signed fraction of the bar's range",
    gap=GAP,
    reference="S. Nison, Japanese Candlestick Charting Techniques, 1991; TA-Lib CDLHAMMER; "
    "M. J. Pring, Pring on Price Patterns, 2005: the Pinocchio bar",
)
