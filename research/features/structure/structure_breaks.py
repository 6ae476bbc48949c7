"""Closes beyond the newest confirmed swing, shared by what breaks a market's structure. It holds no feature.

A swing high is broken by the first close above it, once; a swing low by the first close below it. No close between a
swing and its confirmation can lie beyond it, so that no break goes unseen.
"""

from __future__ import annotations

from research.features.structure.swing_points import (
    HIGH,
    HIGH_BAR,
    LOW,
    LOW_BAR,
    OWN,
    SEEN,
    follow_swings,
    swings_warmup,
)
from research.kernel import FloatArray, kernel

BROKEN_HIGH_BAR, BROKEN_LOW_BAR = OWN, OWN + 1  # the swing that was broken last
BREAK_OWN = OWN + 2
LEVEL, AT = BREAK_OWN, BREAK_OWN + 1  # of the newest break of the kind that is asked for
BEFORE = BREAK_OWN + 2  # bar of the newest break of either kind, below 0 if it went down
KIND_RING = BREAK_OWN + 3


def break_warmup(left: int, right: int, max_age: int) -> int:
    """Return the bars after which every break that is reported, and the one before it, were told from their swings.

    The newest break of a kind is at most ``max_age - 1`` bars old, the break that its kind hangs on is at most as many
    bars older, and the swing that this one went through is known from ``swings_warmup`` bars on.
    """
    return swings_warmup(left, right, max_age) + 2 * (max_age - 1)


@kernel
def structure_break(state: FloatArray, close: float) -> float:
    """Take the close of a bar that ``follow_swings`` has taken; return 1 or -1 if it breaks a swing, else 0."""
    if 0.0 < state[HIGH] < close and state[BROKEN_HIGH_BAR] != state[HIGH_BAR]:
        state[BROKEN_HIGH_BAR] = state[HIGH_BAR]
        return 1.0
    if close < state[LOW] and state[BROKEN_LOW_BAR] != state[LOW_BAR]:
        state[BROKEN_LOW_BAR] = state[LOW_BAR]
        return -1.0
    return 0.0


@kernel
def break_of_kind(
    state: FloatArray, left: int, right: int, max_age: int, turns: bool, high: float, low: float, close: float
) -> tuple[float, float, float]:
    """Take a bar and return direction, level and age of the newest break that turns the market, or that does not.

    A break turns the market if the break before it, less than ``max_age`` bars ago, went the other way; what kind
    that one was does not matter. The direction is that of this bar's break, 0 without one; level and age are of the
    newest one, the close and ``max_age`` without one among the last ``max_age`` bars.
    """
    follow_swings(state, KIND_RING, left, right, max_age, high, low)
    direction = structure_break(state, close)
    seen = state[SEEN]
    if direction != 0.0:
        before = state[BEFORE]
        state[BEFORE] = direction * seen
        turned = before * direction < 0.0 and seen - abs(before) < max_age
        if turned == turns:
            state[LEVEL] = state[HIGH] if direction > 0.0 else state[LOW]
            state[AT] = seen
        else:
            direction = 0.0
    if state[AT] == 0.0 or seen - state[AT] >= max_age:
        return direction, close, float(max_age)
    return direction, state[LEVEL], seen - state[AT]
