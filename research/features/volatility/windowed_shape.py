"""Central moments up to the fourth over the last samples. It holds no feature."""

from __future__ import annotations

import math

from research.kernel import FloatArray, kernel


def shape_size(length: int) -> int:
    """Return the slots of :func:`windowed_shape`: samples in the block, full, four moments, four rings."""
    return 6 + 4 * length


@kernel
def windowed_shape(state: FloatArray, base: int, length: int, sample: float) -> tuple[float, float, float]:
    r"""Take a sample and return the sums of squares, cubes and fourth powers of deviations, NaN before.

    They are those of the last ``length`` samples, :math:`M_p = \sum (x_i - \bar x)^p`. Prefix and suffix of the window,
    as in ``research.features.window``, are joined by Pébay's formulas with :math:`\delta = \bar x_B - \bar x_A`:

    .. math::

        M_2 &= M_2^A + M_2^B + \delta^2 \frac{n_A n_B}{n} \\
        M_3 &= M_3^A + M_3^B + \delta^3 \frac{n_A n_B (n_A - n_B)}{n^2} + 3 \delta \frac{n_A M_2^B - n_B M_2^A}{n} \\
        M_4 &= M_4^A + M_4^B + \delta^4 \frac{n_A n_B (n_A^2 - n_A n_B + n_B^2)}{n^3}
             + 6 \delta^2 \frac{n_A^2 M_2^B + n_B^2 M_2^A}{n^2} + 4 \delta \frac{n_A M_3^B - n_B M_3^A}{n}

    References
    ----------
    .. [1] P. Pébay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order
       Statistical Moments", Sandia Report SAND2008-6212, 2008.
    """
    ring = base + 6
    taken = int(state[base])
    state[ring + taken] = sample
    taken += 1
    mean, m2, m3, m4 = _grow(state[base + 2], state[base + 3], state[base + 4], state[base + 5], taken, sample)
    if taken == length:
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for j in range(length - 1, -1, -1):
            at = ring + j
            a, b, c, d = _grow(a, b, c, d, length - j, state[at])
            state[at], state[at + length], state[at + 2 * length], state[at + 3 * length] = a, b, c, d
        state[base], state[base + 1] = 0.0, 1.0
        state[base + 2], state[base + 3], state[base + 4], state[base + 5] = 0.0, 0.0, 0.0, 0.0
        return m2, m3, m4
    state[base] = taken
    state[base + 2], state[base + 3], state[base + 4], state[base + 5] = mean, m2, m3, m4
    if state[base + 1] == 0.0:
        return math.nan, math.nan, math.nan
    at = ring + taken
    old2, old3, old4 = state[at + length], state[at + 2 * length], state[at + 3 * length]
    gap = mean - state[at]  # of the newer part (share b) from the older one (share a)
    b = taken / length
    a = 1.0 - b
    square = gap * gap
    pairs = length * a * b * square
    return (
        old2 + m2 + pairs,
        old3 + m3 + pairs * gap * (a - b) + 3.0 * gap * (a * m2 - b * old2),
        old4
        + m4
        + pairs * square * (a * a - a * b + b * b)
        + 6.0 * square * (a * a * m2 + b * b * old2)
        + 4.0 * gap * (a * m3 - b * old3),
    )


@kernel
def _grow(mean: float, m2: float, m3: float, m4: float, count: int, sample: float) -> tuple[float, float, float, float]:
    gap = sample - mean
    step = gap / count
    square = step * step
    term = gap * step * (count - 1)
    return (
        mean + step,
        m2 + term,
        m3 + term * step * (count - 2) - 3.0 * step * m2,
        m4 + term * square * (count * count - 3 * count + 3) + 6.0 * square * m2 - 4.0 * step * m3,
    )
