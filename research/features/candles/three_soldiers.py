"""Three white soldiers and three black crows. Registered in the catalogue as ``three_soldiers``."""

from __future__ import annotations

import math

from research.features.candles.trailing_candles import NEAR_BARS, remember, trailing_mean
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def three_soldiers(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    stub: float,
    near: float,
    far: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the three white soldiers and three black crows: three bars that march one way.

    Three soldiers are the bars :math:`t - 2, t - 1, t`, all with :math:`c \ge o`. With :math:`b` the body,
    :math:`\bar b, \bar r` the mean body and range of the ``length`` bars before a bar and :math:`\bar r^5` the mean
    range of 5 bars before it:

    .. math::

        h_j - c_j &< stub \cdot \bar r_j \quad (j = t - 2, t - 1, t), \qquad b_t > \bar b_t, \\
        c_j &> c_{j-1}, \quad o_{j-1} < o_j \le c_{j-1} + near \cdot \bar r^5_{j-1}, \quad
        b_j > b_{j-1} - far \cdot \bar r^5_{j-1} \quad (j = t - 1, t)

    Three crows are the same upside down.

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    length : int
        Bars before a bar whose bodies and ranges say what is short.
    stub : float
        Limit of the wick in the way of the march, in mean ranges.
    near : float
        Limit of the way from a close to the next open beyond it, in mean ranges of five bars.
    far : float
        Limit by which a body may be shorter than the one before, in mean ranges of five bars.
    state : (10 + 4 (max(length, 5) + 2),) array
        Open, high, low and close of the bar before, and of the one before that; bars taken, up to the lookback; slot
        of the rings; ring of bodies, twice; ring of ranges, twice.
    out : (1, n) array
        1 for soldiers, -1 for crows, 0 for neither; NaN until there are bars to compare with.

    Notes
    -----
    The soldiers are TA-Lib's CDL3WHITESOLDIERS to the bar. TA-Lib's CDL3BLACKCROWS are another pattern: every bar has
    to open inside the body before it, which does not happen in a market that opens each bar where the last one closed.
    """
    held = max(length, NEAR_BARS) + 2
    needed = held + 1
    bodies, ranges = state[10 : 10 + 2 * held], state[10 + 2 * held : 10 + 4 * held]
    o1, h1, l1, c1, o2, h2, l2, c2 = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    count, slot = int(state[8]), int(state[9])
    for i in range(close.shape[0]):
        o0, h0, l0, c0 = open[i], high[i], low[i], close[i]
        if not (is_price(o0) and is_price(h0) and is_price(l0) and is_price(c0)):
            out[0, i] = math.nan
            continue
        if count < needed:
            count += 1
        value = 0.0 if count == needed else math.nan
        if count == needed:
            rising = (c0 > c1) & (c1 > c2) & (o0 > o1) & (o1 > o2) & (c0 >= o0) & (c1 >= o1) & (c2 >= o2)
            falling = (c0 < c1) & (c1 < c2) & (o0 < o1) & (o1 < o2) & (c0 <= o0) & (c1 <= o1) & (c2 <= o2)
            if rising | falling:  # the averages are made only for these
                side = 1.0 if rising else -1.0
                wick0, wick1, wick2 = (h0 - c0, h1 - c1, h2 - c2) if rising else (c0 - l0, c1 - l1, c2 - l2)
                stop = slot + held
                marching = abs(c0 - o0) > trailing_mean(bodies, stop, length)
                marching = marching and wick0 < stub * trailing_mean(ranges, stop, length)
                marching = marching and wick1 < stub * trailing_mean(ranges, stop - 1, length)
                marching = marching and wick2 < stub * trailing_mean(ranges, stop - 2, length)
                if marching:
                    reach1 = trailing_mean(ranges, stop - 1, NEAR_BARS)
                    reach2 = trailing_mean(ranges, stop - 2, NEAR_BARS)
                    marching = side * (o0 - c1) <= near * reach1 and side * (o1 - c2) <= near * reach2
                    marching = marching and abs(c0 - o0) > abs(c1 - o1) - far * reach1
                    marching = marching and abs(c1 - o1) > abs(c2 - o2) - far * reach2
                value = side if marching else 0.0
        out[0, i] = value
        o1, h1, l1, c1, o2, h2, l2, c2 = o0, h0, l0, c0, o1, h1, l1, c1
        remember(bodies, slot, held, abs(c0 - o0))
        remember(ranges, slot, held, h0 - l0)
        slot = slot + 1 if slot + 1 < held else 0
    state[0], state[1], state[2], state[3] = o1, h1, l1, c1
    state[4], state[5], state[6], state[7] = o2, h2, l2, c2
    state[8], state[9] = count, slot


def _lookback(length: int, stub: float, near: float, far: float) -> int:
    return max(length, NEAR_BARS) + 3


SPEC = KernelSpec(
    name="three_soldiers",
    kernel=three_soldiers,
    inputs=("open", "high", "low", "close"),
    params=(
        Param("length", 10, 1, 1_000),
        Param("stub", 0.1, 0.0, 10.0),
        Param("near", 0.2, 0.0, 10.0),
        Param("far", 0.6, 0.0, 10.0),
    ),
    outputs=("",),
    state_size=lambda length, stub, near, far: 10 + 4 * (max(length, NEAR_BARS) + 2),
    lookback=_lookback,
    warmup=_lookback,
    warmup_rtol=0.0,
    unit="-1, 0 or 1",
    gap=GAP,
    reference="S. Nison, Japanese Candlestick Charting Techniques, 1991; TA-Lib CDL3WHITESOLDIERS",
)
