"""Confirmed pivots, and the two newest of a kind set against a second measure. It holds no feature.

A pivot low is a bar whose low is below those of the ``left`` bars before it and not above those of the ``right`` bars
after it: of equal lows the first. A pivot high is its mirror image. Both are known, with all that is said of them, once
the last of those bars has closed, ``right`` bars late.

A pair is the newest pivot and the one of its kind before it, if that is at most ``max_age`` bars older. They diverge if
price goes one way from one to the other and the measure the other way.
"""

from __future__ import annotations

from research.features.window import extremes_size, windowed_extremes
from research.kernel import FloatArray, kernel

# Strengths at the bar of confirmation, then the bars since the newest of each.
DIVERGENCES = (
    "bullish",
    "bearish",
    "hidden_bullish",
    "hidden_bearish",
    "bullish_age",
    "bearish_age",
    "hidden_bullish_age",
    "hidden_bearish_age",
)
KINDS = 4  # of divergences, and slots of :func:`record_divergences`
OUTPUTS = 2 * KINDS


def pivots_size(left: int, right: int) -> int:
    """Return the slots of :func:`confirmed_pivots`: slot of the oldest bar, rings of highs and lows, extremes."""
    size = left + right + 1
    return 1 + 2 * size + extremes_size(size)


@kernel
def confirmed_pivots(
    state: FloatArray, base: int, left: int, right: int, high: float, low: float
) -> tuple[bool, bool, float, float]:
    """Take a bar and tell whether the one ``right`` bars before it is a pivot low, a pivot high, and its low and high.

    Neither before ``left + right + 1`` bars were taken. Only a bar that holds an extreme of the whole window is
    compared with its neighbours, and then up to the first that refutes it.
    """
    size = left + right + 1
    highs = base + 1
    lows = highs + size
    newest = int(state[base])
    state[highs + newest] = high
    state[lows + newest] = low
    state[base] = newest + 1 if newest + 1 < size else 0
    highest, lowest = windowed_extremes(state, lows + size, size, high, low)
    at = newest - right if newest >= right else newest - right + size
    top, bottom = state[highs + at], state[lows + at]
    is_low, is_high = bottom == lowest, top == highest  # NaN until the window is full: not equal
    for _ in range(left):
        if not (is_low or is_high):
            break
        at = at - 1 if at > 0 else size - 1
        is_low = is_low and bottom < state[lows + at]
        is_high = is_high and top > state[highs + at]
    return is_low, is_high, bottom, top


@kernel
def diverge(side: float, price_change: float, measure_change: float) -> tuple[float, float]:
    """Return the strength of a regular and of a hidden divergence between two pivots, 0 where there is none.

    Parameters
    ----------
    side : float
        1 for lows, -1 for highs.
    price_change, measure_change : float
        From the older pivot to the newer one.

    Returns
    -------
    regular, hidden : float
        Size of the change of the measure: regular if price went beyond the older pivot and the measure did not, hidden
        if the measure did and price did not.
    """
    price, measure = side * price_change, side * measure_change
    if price < 0.0 < measure:
        return measure, 0.0
    if measure < 0.0 < price:
        return 0.0, -measure
    return 0.0, 0.0


@kernel
def record_divergences(state: FloatArray, base: int, max_age: int, out: FloatArray, i: int) -> None:
    """Count the bars since the newest of the four strengths ``out[:4, i]`` above 0, to ``out[4:, i]``.

    ``state[base:base + KINDS]`` holds the bars for which each is still remembered.
    """
    for kind in range(KINDS):
        remembered = max(0.0, state[base + kind] - 1.0)
        if out[kind, i] > 0.0:
            remembered = max_age
        state[base + kind] = remembered
        out[KINDS + kind, i] = max_age - remembered
