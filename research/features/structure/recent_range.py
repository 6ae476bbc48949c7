"""Mean true range of the last bars, the same to the bit wherever the run began. It holds no feature.

What decides a flag may not depend on rounding: these ranges are added up from the oldest to the newest each time they
are asked for, where a running sum, or Wilder's average, would end in other last digits after a restart.

The memory is ``state[base:base + range_size(length)]``: close of the bar before (0: none), slot of the next range,
ranges taken up to ``length``, ring of ranges.
"""

from __future__ import annotations

from research.kernel import FloatArray, kernel


def range_size(length: int) -> int:
    """Return the slots that :func:`take_range` needs."""
    return 3 + length


@kernel
def take_range(state: FloatArray, base: int, length: int, high: float, low: float, close: float) -> None:
    """Take the true range of a bar; the first bar, which has no close before it, has none."""
    previous = state[base]
    if previous > 0.0:
        slot = int(state[base + 1])
        state[base + 3 + slot] = max(high, previous) - min(low, previous)
        state[base + 1] = slot + 1 if slot + 1 < length else 0
        if state[base + 2] < length:
            state[base + 2] += 1.0
    state[base] = close


@kernel
def mean_range(state: FloatArray, base: int, length: int) -> float:
    """Return the mean of the last ``length`` true ranges, of those taken while there are fewer, 0 before the first."""
    taken = int(state[base + 2])
    if taken == 0:
        return 0.0
    ring = base + 3
    oldest = int(state[base + 1]) if taken == length else 0
    total = 0.0
    for j in range(ring + oldest, ring + taken):
        total += state[j]
    for j in range(ring, ring + oldest):
        total += state[j]
    return total / taken
