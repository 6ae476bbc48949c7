"""The newest confirmed swing highs and lows, shared by the features of market structure. It holds no feature.

A swing high is a bar whose high exceeds the highs of the ``left`` bars before it and is exceeded by none of the
``right`` bars after it: of equal highs the first is the swing, and a market that stands still has none. Swing lows
likewise. A swing is known at the close of the ``right``-th bar after it and no earlier.

A swing more than ``max_age`` bars old is forgotten, so that all that is remembered is a function of the last
``max_age + left + 1`` bars, and a restarted feature agrees with a long-running one to the bit.

The memory is the front of ``state``, slot by slot as named below; the highs and lows of the last ``left + right + 1``
bars lie in two rings from ``ring`` on. Bars are numbered from 1 since the cold start, and a level of 0 is none.
"""

from __future__ import annotations

from research.kernel import FloatArray, kernel

SEEN, SLOT = 0, 1
HIGH, HIGH_BAR, HIGH_BEFORE, HIGH_BEFORE_BAR = 2, 3, 4, 5
LOW, LOW_BAR, LOW_BEFORE, LOW_BEFORE_BAR = 6, 7, 8, 9
OWN = 10  # the first slot that a feature has to itself


def swing_rings_size(left: int, right: int) -> int:
    """Return the slots of the two rings."""
    return 2 * (left + right + 1)


def swings_warmup(left: int, right: int, max_age: int) -> int:
    """Return the bars after which every swing that is not forgotten was seen from its first bar on."""
    return max(max_age, right) + left + 1


@kernel
def follow_swings(
    state: FloatArray, ring: int, left: int, right: int, max_age: int, high: float, low: float
) -> tuple[float, float]:
    """Take a bar, forget what is too old, and return the swing high and the swing low it confirms (0: none)."""
    seen = state[SEEN] + 1.0
    slot = int(state[SLOT])
    width = left + right + 1
    lows = ring + width
    state[ring + slot] = high
    state[lows + slot] = low
    state[SEEN] = seen
    state[SLOT] = slot + 1 if slot + 1 < width else 0
    peak, trough = 0.0, 0.0
    if seen >= width:
        centre = slot - right if slot >= right else slot - right + width
        if _stands_out(state, ring, width, centre, left, right, 1.0):
            peak = state[ring + centre]
            state[HIGH_BEFORE], state[HIGH_BEFORE_BAR] = state[HIGH], state[HIGH_BAR]
            state[HIGH], state[HIGH_BAR] = peak, seen - right
        if _stands_out(state, lows, width, centre, left, right, -1.0):
            trough = state[lows + centre]
            state[LOW_BEFORE], state[LOW_BEFORE_BAR] = state[LOW], state[LOW_BAR]
            state[LOW], state[LOW_BAR] = trough, seen - right
    oldest = seen - max_age
    if state[HIGH_BEFORE_BAR] < oldest:
        state[HIGH_BEFORE] = 0.0
        if state[HIGH_BAR] < oldest:
            state[HIGH] = 0.0
    if state[LOW_BEFORE_BAR] < oldest:
        state[LOW_BEFORE] = 0.0
        if state[LOW_BAR] < oldest:
            state[LOW] = 0.0
    return peak, trough


@kernel
def _stands_out(state: FloatArray, ring: int, width: int, centre: int, left: int, right: int, sign: float) -> bool:
    # Nearest bars first, both sides in turn: a trend is refused at the first step, whichever its direction.
    level = sign * state[ring + centre]
    before, after = centre, centre
    for step in range(1, max(left, right) + 1):
        if step <= right:
            after = after + 1 if after + 1 < width else 0
            if sign * state[ring + after] > level:
                return False
        if step <= left:
            before = before - 1 if before > 0 else width - 1
            if sign * state[ring + before] >= level:
                return False
    return True


@kernel
def high_label(state: FloatArray) -> float:
    """Return 1 if the newest swing high is higher than the one before it, -1 if lower, 0 if equal or unknown."""
    return _label(state[HIGH], state[HIGH_BEFORE])


@kernel
def low_label(state: FloatArray) -> float:
    """Return 1 if the newest swing low is higher than the one before it, -1 if lower, 0 if equal or unknown."""
    return _label(state[LOW], state[LOW_BEFORE])


@kernel
def swing_trend(state: FloatArray) -> float:
    """Return 1 if both newest swings are higher than those before them, -1 if both are lower, else 0."""
    both = high_label(state) + low_label(state)
    return 1.0 if both == 2.0 else (-1.0 if both == -2.0 else 0.0)


@kernel
def _label(newest: float, before: float) -> float:
    if newest == 0.0 or before == 0.0 or newest == before:
        return 0.0
    return 1.0 if newest > before else -1.0
