"""Supertrend, a stop some average true ranges away. Registered in the catalogue as ``supertrend``."""

from __future__ import annotations

import math

from research.features.smoothing import wilder_average
from research.features.validity import GAP, is_price
from research.kernel import UNBOUNDED, FloatArray, KernelSpec, Param, kernel

# A true range below a millionth of the price is a market that stands still, as in ``ema_spread``.
RANGE_FLOOR_FRAC = 1e-6


@kernel
def supertrend(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    factor: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Supertrend: an ATR stop below a rising and above a falling market, never moved against it.

    .. math::

        L_t = \begin{cases} b_t & b_t > L_{t-1} \text{ or } c_{t-1} < L_{t-1} \\ L_{t-1} & \text{else} \end{cases}
        \qquad b_t = \tfrac{1}{2} (h_t + l_t) - factor \cdot atr_{length,t}

    and the upper line :math:`U` mirrored. The lower one is the level while the direction is up, until a close falls
    below it; the upper one is the level then, until a close rises above it.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Length of the average true range (Wilder).
    factor : float
        Average true ranges between the middle of the bar and a line.
    state : (6,) array
        Close of the bar before (0: none); count and level of the true range, as ``wilder_average``; direction (0: not
        started), lower and upper line.
    out : (3, n) array
        Level in quote currency, below zero where a market has crashed; direction, 1 or -1; distance of the close from
        the level in average true ranges, at least a millionth of the close each. NaN until the range is seeded.

    Notes
    -----
    Starts upwards, as TA-Lib does; others start downwards. The first reversals differ by that, and since a line that
    is never crossed may stand for ever, no number of bars is sure to forget the start. On a random walk two starts
    have met after some 360 bars: when both have been crossed and the average true range has forgotten too.
    """
    weight = 1.0 / length
    previous, count, mean_range = state[0], int(state[1]), state[2]
    side, lower, upper = state[3], state[4], state[5]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        if previous > 0.0:
            true_range = max(top, previous) - min(bottom, previous)
            count, mean_range = wilder_average(count, mean_range, length, weight, true_range)
        if count == length:
            middle, reach = 0.5 * (top + bottom), factor * mean_range
            below, above = middle - reach, middle + reach
            if side == 0.0:
                side, lower, upper = 1.0, below, above
            else:
                lower = below if below > lower or previous < lower else lower
                upper = above if above < upper or previous > upper else upper
                after_rise, after_fall = -1.0 if price < lower else 1.0, 1.0 if price > upper else -1.0
                side = after_rise if side > 0.0 else after_fall
            level = lower if side > 0.0 else upper
            out[0, i], out[1, i] = level, side
            out[2, i] = (price - level) / max(mean_range, RANGE_FLOOR_FRAC * price)
        else:
            out[0, i] = out[1, i] = out[2, i] = math.nan
        previous = price
    state[0], state[1], state[2] = previous, count, mean_range
    state[3], state[4], state[5] = side, lower, upper


SPEC = KernelSpec(
    name="supertrend",
    kernel=supertrend,
    inputs=("high", "low", "close"),
    params=(Param("length", 10, 1, 100_000), Param("factor", 3.0, 0.0, 100.0)),
    outputs=("level", "direction", "distance"),
    state_size=lambda length, factor: 6,
    lookback=lambda length, factor: length + 1,
    warmup=lambda length, factor: UNBOUNDED,
    warmup_rtol=0.0,
    unit="quote; direction 1 or -1; distance in average true ranges",
    gap=GAP,
    reference="O. Seban's SuperTrend; TA-Lib SUPERTREND",
)
