"""Rank of a level within its last values, where nearly equal ones tie. It holds no feature."""

from __future__ import annotations

import math

from research.kernel import FloatArray, kernel

# Levels as near as this, relative to the newest, are equal: an average range is known to some 1e-15 of itself, and
# without a tie the rank in a market whose bars are all alike would be that of their rounding.
TIE = 1e-9


def rank_size(window: int) -> int:
    """Return the slots of :func:`tied_rank`: levels held, slot of the oldest, ring."""
    return 2 + window


@kernel
def tied_rank(state: FloatArray, base: int, window: int, level: float) -> float:
    r"""Take a level that is not below zero and return its rank among the last ``window``, NaN before.

    .. math::

        R_t = \frac{\#\{x_j < x_t\} + \tfrac{1}{2} \#\{x_j \approx x_t\}}{window - 1}, \qquad
        j = t - window + 1, \ldots, t - 1

    In [0, 1]: 0 below all others, 1 above, 0.5 if all are equal.
    """
    count, slot = int(state[base]), int(state[base + 1])
    ring = state[base + 2 : base + 2 + window]
    ring[slot] = level
    state[base + 1] = slot + 1 if slot + 1 < window else 0
    if count < window:
        count += 1
        state[base] = count
        if count < window:
            return math.nan
    least, most = level * (1.0 - TIE), level * (1.0 + TIE)
    below, above = 0, 0
    for j in range(window):
        below += ring[j] < least
        above += ring[j] > most
    return 0.5 + 0.5 * (below - above) / (window - 1)
