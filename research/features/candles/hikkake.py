"""False break of an inside bar, after Chesler. Registered in the catalogue as ``hikkake``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, kernel

NEEDED = 6  # the pattern's three bars, and three in which it may be confirmed


@kernel
def hikkake(high: FloatArray, low: FloatArray, close: FloatArray, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the Hikkake pattern: a false break of an inside bar, and its confirmation.

    Bar :math:`t - 1` lies inside bar :math:`t - 2`, and bar :math:`t` breaks out of it to one side: a trap for those
    who follow, bullish when it breaks down (lower high and lower low), bearish when it breaks up. It is confirmed by a
    close, not more than three bars later, beyond the other end of the inside bar.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    state : (8,) array
        High and low of the bar before, and of the one before that; bars taken, up to the lookback; side of the newest
        pattern (0: none open), bars since, and the price that confirms it.
    out : (1, n) array
        1 bullish pattern, 2 its confirmation; -1 bearish pattern, -2 its confirmation; 0 otherwise. NaN until all bars
        that could confirm a pattern were seen.

    Notes
    -----
    TA-Lib's CDLHIKKAKE over 100. A new pattern takes the place of one that waits; a confirmation ends it.
    """
    high1, low1, high2, low2, count = state[0], state[1], state[2], state[3], int(state[4])
    side, since, goal = state[5], int(state[6]), state[7]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = math.nan
            continue
        if count < NEEDED:
            count += 1
        value = 0.0
        since += 1
        down = (top < high1) & (bottom < low1)
        up = (top > high1) & (bottom > low1)
        # A bar that has not been seen is (0, 0), and nothing lies inside it.
        if (high1 < high2) & (low1 > low2) & (down | up):
            side = 1.0 if down else -1.0
            goal = high1 if down else low1
            since = 0
            value = side
        elif side != 0.0:
            if since > 3:
                side, goal = 0.0, 0.0
            elif side * (price - goal) > 0.0:
                value = 2.0 * side
                side, goal = 0.0, 0.0
        if side == 0.0:
            since = 0
        out[0, i] = value if count == NEEDED else math.nan
        high2, low2, high1, low1 = high1, low1, top, bottom
    state[0], state[1], state[2], state[3], state[4] = high1, low1, high2, low2, count
    state[5], state[6], state[7] = side, since, goal


SPEC = KernelSpec(
    name="hikkake",
    kernel=hikkake,
    inputs=("high", "low", "close"),
    params=(),
    outputs=("",),
    state_size=lambda: 8,
    lookback=lambda: NEEDED,
    warmup=lambda: NEEDED,
    warmup_rtol=0.0,
    unit="-2 to 2",
    gap=GAP,
    reference="D. L. Chesler, Trading False Moves with the Hikkake Pattern, Active Trader, 2004; TA-Lib CDLHIKKAKE",
)
