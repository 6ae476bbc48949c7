"""The set of trials among which the best one is: what a record of days can tell apart. It chooses none of them.

It has its own code: ``arch`` 8.0's ``MCS`` studentises rightly but keeps every pair of every sample, 3 GB and 33 s for
300 trials where this takes 32 MB and 0.2 s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray, kernel
from research.validation.snooping import block_or_default, checked_performance, resampled_means

# Deviations: a range up to here is rounding, of trials that are copies of each other.
_ALIKE = 1e-6


def model_confidence_set(
    performance: ArrayLike, *, level: float = 0.05, block: float | None = None, paths: int = 1_000, seed: int = 0
) -> IntArray:
    """Return the trials among which the best one is, with probability ``1 - level``.

    Parameters
    ----------
    performance, block, paths, seed
        As :func:`research.validation.snooping.reality_check` takes them, but that no benchmark is needed: trials are
        compared with each other, each pair in the deviation of its difference.
    level : float
        In (0, 1).

    Returns
    -------
    (m,) array of int64
        Their columns, ascending, at least one: a large set says that the days cannot tell the trials apart.

    Raises
    ------
    InvalidInput
        If the shape does not fit, a value is not finite or a setting is out of range.

    Notes
    -----
    By the range statistic. The other one, a trial against the mean of all, hardly sees a single good trial among poor
    ones: of 20 over 250 days, one with a daily ratio of 0.25 and the rest with none, it keeps 19.8 where the range
    keeps 12.7. Time grows with the square of the trials: 2,000 take 4 s where nothing can be eliminated and 19 s where
    most are, and 210 MB.

    References
    ----------
    .. [1] P. R. Hansen, A. Lunde, J. M. Nason, "The Model Confidence Set", Econometrica 79(2), 2011.

    Examples
    --------
    >>> days = np.random.default_rng(1).normal(0.0, 0.01, (400, 5)) + [0.0, 0.0, 0.004, 0.0, 0.0039]
    >>> model_confidence_set(days).tolist()
    [2, 4]
    """
    values = checked_performance(performance, paths)
    if not 0.0 < level < 1.0:
        raise InvalidInput("level", "must lie in (0, 1)", level)
    mean = values.mean(axis=0)
    # What never varies has no error at all: rounding of its mean is none.
    centred = np.where(np.ptp(values, axis=0) > 0.0, values - mean, 0.0)
    count = values.shape[1]
    samples = np.empty((paths + 1, count))
    begin = 0
    for means in resampled_means(centred, block_or_default(values, block), paths, seed):
        samples[begin : begin + len(means)] = means
        begin += len(means)
    samples[paths] = mean  # the observed one is eliminated with, the others say how far is by chance
    samples -= samples.mean(axis=1)[:, None]  # differences stay; what all trials share would cost them digits
    kept = _kept(samples, _inverse_deviations(samples[:paths]), level)
    return np.flatnonzero(kept).astype(np.int64)


def _inverse_deviations(samples: FloatArray) -> FloatArray:
    """Return one over the deviation of each pair's difference, (n_trials, n_trials)."""
    product = samples.T @ samples / len(samples)
    alone = np.diag(product)
    both = alone[:, None] + alone
    variance = both - 2.0 * product
    # Of trials that are alike but for rounding the difference is noise; a floor keeps it, and keeps what is
    # always the better by the same amount far above it.
    return 1.0 / np.sqrt(np.maximum(np.maximum(variance, 1e-13 * both), 1e-280))


@kernel
def _kept(samples: FloatArray, inverse: FloatArray, level: float) -> IntArray:
    """Eliminate the worst trial as long as the range of those left is larger than chance; return 1 for each left.

    The last row of ``samples`` is the observed one. For each row and trial the largest difference to any other is kept,
    and found again only where the other one was eliminated: of all eliminations together that costs little more than
    the first search.
    """
    rows, count = samples.shape
    largest = np.empty((count, rows))
    is_left = np.ones(count, dtype=np.int64)
    for i in range(count):
        for row in range(rows):
            largest[i, row] = _largest(samples[row], inverse[i], is_left, i)
    left = count
    while left > 1:
        statistic, worst = -math.inf, -1
        for i in range(count):
            if is_left[i] and largest[i, rows - 1] > statistic:
                statistic, worst = largest[i, rows - 1], i
        if statistic <= _ALIKE:
            break
        above = 0
        for row in range(rows - 1):
            for i in range(count):
                if is_left[i] and largest[i, row] > statistic:
                    above += 1
                    break
        if above > level * (rows - 1):
            break
        is_left[worst] = 0
        left -= 1
        for i in range(count):
            if is_left[i]:
                for row in range(rows):
                    if (samples[row, worst] - samples[row, i]) * inverse[i, worst] >= largest[i, row]:
                        largest[i, row] = _largest(samples[row], inverse[i], is_left, i)
    return is_left


@kernel
def _largest(sample: FloatArray, inverse: FloatArray, is_left: IntArray, i: int) -> float:
    """Return by how much the best of the trials left beats trial ``i``, in deviations of their difference."""
    found = -math.inf
    for j in range(sample.shape[0]):
        if is_left[j] and j != i:
            found = max(found, (sample[j] - sample[i]) * inverse[j])
    return found
