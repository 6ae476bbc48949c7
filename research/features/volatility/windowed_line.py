"""End of the least-squares line through the last samples. It holds no feature."""

from __future__ import annotations

import math

from research.kernel import FloatArray, kernel


def line_size(length: int) -> int:
    """Return the slots of :func:`windowed_line_end`: samples in the block, full, two sums, two rings."""
    return 4 + 2 * length


@kernel
def windowed_line_end(state: FloatArray, base: int, length: int, sample: float) -> float:
    r"""Take a sample and return the least-squares line of the last ``length`` at the newest, NaN before.

    With :math:`a` the age of a sample, 0 for the newest,

    .. math::

        y = \frac{(4n - 2) \sum x_a - 6 \sum a \, x_a}{n (n + 1)}

    The window is the suffix of one block of ``length`` samples joined with the prefix of the next, as in
    ``research.features.window``: when ``k`` samples follow a block, all its ages are ``k`` more.
    """
    ring = base + 4
    taken = int(state[base])
    state[ring + taken] = sample
    taken += 1
    if taken < length:
        aged = state[base + 3] + state[base + 2]
        total = state[base + 2] + sample
        state[base], state[base + 2], state[base + 3] = taken, total, aged
        if state[base + 1] == 0.0:
            return math.nan
        aged += state[ring + length + taken] + taken * state[ring + taken]
        total += state[ring + taken]
    else:
        total, aged = 0.0, 0.0
        for j in range(length - 1, -1, -1):
            at = ring + j
            total += state[at]
            aged += (length - 1 - j) * state[at]
            state[at], state[at + length] = total, aged
        state[base], state[base + 1], state[base + 2], state[base + 3] = 0.0, 1.0, 0.0, 0.0
    return ((4.0 * length - 2.0) * total - 6.0 * aged) / (length * (length + 1.0))
