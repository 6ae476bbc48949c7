"""Two sums over the last ``length`` samples at once, for shares of volume. It holds no feature."""

from __future__ import annotations

import math

from research.kernel import FloatArray, kernel


def pair_size(length: int) -> int:
    """Return the slots of :func:`windowed_pair`: samples in the block, full, two prefix sums, two rings."""
    return 4 + 2 * length


@kernel
def windowed_pair(state: FloatArray, base: int, length: int, first: float, second: float) -> tuple[float, float]:
    """Take a sample of each of two columns and return the sums of their last ``length``, NaN before.

    As ``research.features.window.windowed_sum``. Both sums round in the same order: where no sample of the first is
    larger in size than that of the second, its sum is not either, and a share cannot leave its range.
    """
    ring = base + 4
    taken = int(state[base])
    at = ring + 2 * taken
    state[at], state[at + 1] = first, second
    taken += 1
    if taken == length:
        total_first, total_second = 0.0, 0.0
        for j in range(at, ring - 1, -2):
            total_first += state[j]
            total_second += state[j + 1]
            state[j], state[j + 1] = total_first, total_second
        state[base], state[base + 1] = 0.0, 1.0
        state[base + 2], state[base + 3] = 0.0, 0.0
        return total_first, total_second
    prefix_first, prefix_second = state[base + 2] + first, state[base + 3] + second
    state[base], state[base + 2], state[base + 3] = taken, prefix_first, prefix_second
    if state[base + 1] == 0.0:
        return math.nan, math.nan
    return prefix_first + state[at + 2], prefix_second + state[at + 3]
