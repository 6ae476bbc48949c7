"""Mean of the last ``length`` values, for features that smooth within their own loop. It holds no feature.

As in ``research.features.window`` values come in blocks of ``length``, nothing is ever subtracted, and the window is
the suffix of the block before joined with the prefix of the block under way. Here the prefix is the caller's, who keeps
it in registers (measured with a length of three: 2 ns per bar, where ``windowed_sum`` takes 7 or more).
"""

from __future__ import annotations

from research.kernel import FloatArray, kernel


@kernel
def suffix_sums(ring: FloatArray, length: int) -> float:
    """Turn samples in place into their sums from each to the end, and return the sum over all."""
    total = 0.0
    for j in range(length - 1, -1, -1):
        total += ring[j]
        ring[j] = total
    return total


@kernel
def block_mean(ring: FloatArray, taken: int, prefix: float, length: int, sample: float) -> tuple[int, float, float]:
    """Take a sample into a block and return the samples in it, their sum, and the mean of the last ``length``.

    The mean means nothing before ``length`` samples were taken: the caller counts them. Of samples between 0 and 1 it
    is between 0 and 1 to the bit, because no sum of m of them is rounded past m.
    """
    ring[taken] = sample
    taken += 1
    if taken == length:
        return 0, 0.0, suffix_sums(ring, length) / length
    prefix += sample
    return taken, prefix, (prefix + ring[taken]) / length
