"""Sums and moments over the last ``length`` samples, shared by windowed features. It holds no feature.

Nothing is ever subtracted. Samples come in blocks of ``length``; when a block is complete its ring is turned into
the block's suffix aggregates, and the window is then the suffix of the block before joined with the prefix of the
block under way. One pass over the ring per ``length`` bars, constant work per bar, and a price of 1e12 that has left
the window leaves no trace behind, where ``sum += newest - oldest`` would carry its rounding for ever.

Every function keeps its memory in ``state[base:base + SIZE(length)]``, zeros before the first sample, and returns
NaN until ``length`` samples have been seen. Equal samples have a second moment of exactly 0.
"""

from __future__ import annotations

import math

from research.kernel import FloatArray, kernel

# A restarted window differs only in where its blocks begin, that is in the order of ``length`` additions.
WINDOW_RTOL = 1e-9


def sum_size(length: int) -> int:
    """Return the slots of :func:`windowed_sum`: samples in the block, full, prefix sum, ring."""
    return 3 + length


def moments_size(length: int) -> int:
    """Return the slots of :func:`windowed_moments`: samples in the block, full, prefix mean and m2, two rings."""
    return 4 + 2 * length


def comoments_size(length: int) -> int:
    """Return the slots of :func:`windowed_comoments`: block, full, two means, two m2, product, five rings."""
    return 7 + 5 * length


@kernel
def windowed_sum(state: FloatArray, base: int, length: int, sample: float) -> float:
    """Take a sample and return the sum of the last ``length``, NaN before."""
    ring = base + 3
    taken = int(state[base])
    state[ring + taken] = sample
    taken += 1
    if taken == length:
        total = 0.0
        for j in range(ring + length - 1, ring - 1, -1):
            total += state[j]
            state[j] = total
        state[base] = 0.0
        state[base + 1] = 1.0
        state[base + 2] = 0.0
        return total
    prefix = state[base + 2] + sample
    state[base] = taken
    state[base + 2] = prefix
    if state[base + 1] == 0.0:
        return math.nan
    return prefix + state[ring + taken]


@kernel
def windowed_moments(state: FloatArray, base: int, length: int, sample: float) -> tuple[float, float]:
    """Take a sample and return the mean and the sum of squared deviations of the last ``length``, NaN before.

    References
    ----------
    .. [1] B. P. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products",
       Technometrics 4(3), 1962: the running update.
    .. [2] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
       Variances", COMPSTAT 1982: joining two parts.
    """
    means = base + 4
    squares = means + length
    taken = int(state[base])
    state[means + taken] = sample
    taken += 1
    mean, m2 = _welford(state[base + 2], state[base + 3], taken, sample)
    if taken == length:
        suffix_mean, suffix_m2 = 0.0, 0.0
        for j in range(length - 1, -1, -1):
            suffix_mean, suffix_m2 = _welford(suffix_mean, suffix_m2, length - j, state[means + j])
            state[means + j] = suffix_mean
            state[squares + j] = suffix_m2
        state[base] = 0.0
        state[base + 1] = 1.0
        state[base + 2] = 0.0
        state[base + 3] = 0.0
        return mean, m2
    state[base] = taken
    state[base + 2] = mean
    state[base + 3] = m2
    if state[base + 1] == 0.0:
        return math.nan, math.nan
    share = taken / length
    gap = mean - state[means + taken]
    return state[means + taken] + gap * share, m2 + state[squares + taken] + gap * gap * share * (length - taken)


@kernel
def windowed_comoments(
    state: FloatArray, base: int, length: int, x: float, y: float
) -> tuple[float, float, float, float, float]:
    """Take a pair and return mean x, mean y, m2 x, m2 y and the sum of products of deviations, NaN before.

    References
    ----------
    .. [1] P. Pébay, "Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order
       Statistical Moments", Sandia Report SAND2008-6212, 2008.
    """
    ring = base + 7
    taken = int(state[base])
    state[ring + taken] = x
    state[ring + length + taken] = y
    taken += 1
    mean_x, mean_y, m2_x, m2_y, product = _welford_pair(
        state[base + 2], state[base + 3], state[base + 4], state[base + 5], state[base + 6], taken, x, y
    )
    if taken == length:
        a, b, c, d, e = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(length - 1, -1, -1):
            at = ring + j
            a, b, c, d, e = _welford_pair(a, b, c, d, e, length - j, state[at], state[at + length])
            state[at], state[at + length] = a, b
            state[at + 2 * length], state[at + 3 * length], state[at + 4 * length] = c, d, e
        state[base] = 0.0
        state[base + 1] = 1.0
        for j in range(base + 2, ring):
            state[j] = 0.0
        return mean_x, mean_y, m2_x, m2_y, product
    state[base] = taken
    state[base + 2], state[base + 3] = mean_x, mean_y
    state[base + 4], state[base + 5], state[base + 6] = m2_x, m2_y, product
    if state[base + 1] == 0.0:
        return math.nan, math.nan, math.nan, math.nan, math.nan
    at = ring + taken
    share = taken / length
    weight = share * (length - taken)
    gap_x = mean_x - state[at]
    gap_y = mean_y - state[at + length]
    return (
        state[at] + gap_x * share,
        state[at + length] + gap_y * share,
        m2_x + state[at + 2 * length] + gap_x * gap_x * weight,
        m2_y + state[at + 3 * length] + gap_y * gap_y * weight,
        product + state[at + 4 * length] + gap_x * gap_y * weight,
    )


@kernel
def _welford(mean: float, m2: float, count: int, sample: float) -> tuple[float, float]:
    # The mean moves towards the sample and, rounded, never past it: m2 cannot fall below zero.
    gap = sample - mean
    mean += gap / count
    return mean, m2 + gap * (sample - mean)


@kernel
def _welford_pair(
    mean_x: float, mean_y: float, m2_x: float, m2_y: float, product: float, count: int, x: float, y: float
) -> tuple[float, float, float, float, float]:
    gap_x, gap_y = x - mean_x, y - mean_y
    mean_x += gap_x / count
    mean_y += gap_y / count
    return mean_x, mean_y, m2_x + gap_x * (x - mean_x), m2_y + gap_y * (y - mean_y), product + gap_x * (y - mean_y)


def extremes_size(length: int) -> int:
    """Return the slots of :func:`windowed_extremes`: samples in the block, full, prefix extremes, two rings."""
    return 4 + 2 * length


@kernel
def windowed_extremes(state: FloatArray, base: int, length: int, high: float, low: float) -> tuple[float, float]:
    """Take a high and a low and return the highest and the lowest of the last ``length``, NaN before.

    Three comparisons per sample whatever the length.

    References
    ----------
    .. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
       Pattern Recognition Letters 13(7), 1992.
    """
    highs = base + 4
    lows = highs + length
    taken = int(state[base])
    top, bottom = high, low
    if taken > 0:
        top, bottom = max(high, state[base + 2]), min(low, state[base + 3])
    state[highs + taken], state[lows + taken] = high, low
    taken += 1
    if taken == length:
        for j in range(length - 2, -1, -1):
            state[highs + j] = max(state[highs + j], state[highs + j + 1])
            state[lows + j] = min(state[lows + j], state[lows + j + 1])
        state[base] = 0.0
        state[base + 1] = 1.0
        return top, bottom
    state[base] = taken
    state[base + 2], state[base + 3] = top, bottom
    if state[base + 1] == 0.0:
        return math.nan, math.nan
    return max(top, state[highs + taken]), min(bottom, state[lows + taken])
