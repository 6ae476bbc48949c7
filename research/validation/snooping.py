"""Tests of the best of many trials against the luck of having many: Reality Check, SPA, StepM.

All resample days in blocks and keep the trials' dependence on each other. None sees look-ahead. ``arch`` 8.0's own
``SPA`` and ``StepM`` do not divide by a column's deviation, whatever ``studentize`` says, so that a quiet trial with an
edge hides among loud ones without (0.86 for 0.00005 on one published example); the tests here do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.validation.intervals import default_block, stationary_positions

_CELLS = 4_000_000  # of a chunk of samples: 32 MB of weights


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Outcome of Hansen's test that no trial beats the benchmark.

    Parameters
    ----------
    statistic : float
        Largest studentised mean, 0 where none is positive.
    lower, consistent, upper : float
        p-values with three ways to recentre trials that are clearly worse than the benchmark; ``consistent`` is the
        one to use, the others bound it.
    best : int
        Column of the largest studentised mean.
    """

    statistic: float
    lower: float
    consistent: float
    upper: float
    best: int


def stationary_bootstrap_variance(series: ArrayLike, block: float) -> float | FloatArray:
    """Return the variance of a mean under the stationary bootstrap, exactly.

    Parameters
    ----------
    series : (n,) or (n, k) array_like
        One series or columns.
    block : float
        Mean length of a block, at least 1.

    Returns
    -------
    float, or (k,) array
        In squared units of the series.

    Raises
    ------
    InvalidInput
        If there are fewer than 2 rows, a value is not finite, or ``block`` is below 1.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, "The Stationary Bootstrap", JASA 89(428), 1994, lemma 1.

    Examples
    --------
    >>> round(stationary_bootstrap_variance([1.0, 2.0, 4.0, 3.0], 1.0), 6)  # one by one: the variance over n
    0.3125
    """
    values = _columns(series)
    n = values.shape[0]
    if not block >= 1.0:
        raise InvalidInput("block", "must be at least 1", block)
    lags = np.arange(1, n)
    stays = 1.0 - 1.0 / block
    weights = (1.0 - lags / n) * stays**lags + lags / n * stays ** (n - lags)
    centred = values - values.mean(axis=0)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = np.fft.rfft(centred, size, axis=0)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), size, axis=0)[:n] / n
    found = np.maximum((covariance[0] + 2.0 * weights @ covariance[1:]) / n, 0.0)
    return float(found[0]) if np.ndim(series) == 1 else found


def block_length(series: ArrayLike) -> tuple[float, float]:
    """Return the block lengths that resample a series best: of the stationary and of the circular bootstrap.

    Raises
    ------
    InvalidInput
        If there are fewer than 10 values or one is not finite.

    References
    ----------
    .. [1] D. N. Politis, H. White, "Automatic Block-Length Selection", Econometric Reviews 23(1), 2004, corrected by
       A. Patton, D. N. Politis, H. White, Econometric Reviews 28(4), 2009; by ``arch.bootstrap.optimal_block_length``.
    """
    values = _columns(series)
    if values.shape != (values.shape[0], 1) or values.shape[0] < 10:
        raise InvalidInput("series", "must be one series of at least 10 values", values.shape)
    from arch.bootstrap import optimal_block_length

    found = optimal_block_length(values[:, 0])
    return float(found["stationary"].iloc[0]), float(found["circular"].iloc[0])


def block_length_of_ar1(phi: float, n: int) -> tuple[float, float]:
    """Return the optimal block lengths of an autoregression of order one: stationary and circular.

    Parameters
    ----------
    phi : float
        Coefficient, in (-1, 1).
    n : int
        Length of the series, at least 1.

    References
    ----------
    .. [1] Patton, Politis and White (2009).

    Examples
    --------
    >>> [round(b, 3) for b in block_length_of_ar1(0.7, 800)]
    [18.2, 20.834]
    """
    if not -1.0 < phi < 1.0:
        raise InvalidInput("phi", "must lie in (-1, 1)", phi)
    if n < 1:
        raise InvalidInput("n", "must be at least 1", n)
    shared = abs(2.0 * phi / (1.0 - phi * phi)) ** (2.0 / 3.0) * n ** (1.0 / 3.0)
    return shared, 1.5 ** (1.0 / 3.0) * shared


def reality_check(performance: ArrayLike, *, block: float | None = None, paths: int = 10_000, seed: int = 0) -> float:
    """Return White's p-value of the hypothesis that no trial beats the benchmark.

    Parameters
    ----------
    performance : (n_days, n_trials) array_like
        Of each trial over the benchmark, per day; higher is better. Returns of a strategy, where the benchmark is cash.
    block : float, optional
        Mean length of a block; by default the cube root of the days.
    paths : int
        Samples.
    seed : int

    Returns
    -------
    float
        Not studentised: a loud trial drowns the others, and trials worse than the benchmark raise it. SPA mends both.

    Raises
    ------
    InvalidInput
        If the shape does not fit, a value is not finite or a setting is out of range.

    References
    ----------
    .. [1] H. White, "A Reality Check for Data Snooping", Econometrica 68(5), 2000.
    """
    values = checked_performance(performance, paths)
    mean, root = values.mean(axis=0), math.sqrt(values.shape[0])
    statistic = root * float(mean.max())
    above = 0
    for means in resampled_means(values, block_or_default(values, block), paths, seed):
        above += int(np.count_nonzero(root * (means - mean).max(axis=1) > statistic))
    return above / paths


def superior_predictive_ability(
    performance: ArrayLike, *, block: float | None = None, paths: int = 10_000, seed: int = 0
) -> SuperiorAbility:
    """Test that no trial beats the benchmark, each measured in its own deviations.

    Parameters
    ----------
    performance, block, paths, seed
        As :func:`reality_check` takes them. A trial that does not vary takes no part.

    Returns
    -------
    SuperiorAbility
        p-values of NaN where no trial varies.

    Raises
    ------
    InvalidInput
        As :func:`reality_check`.

    References
    ----------
    .. [1] P. R. Hansen, "A Test for Superior Predictive Ability", Journal of Business and Economic Statistics 23(4),
       2005.

    Examples
    --------
    >>> days = np.random.default_rng(3).normal(0.0, 1.0, (250, 30))
    >>> days[:, 4] = 0.05 * days[:, 4] + 0.02                          # quiet, with an edge
    >>> found = superior_predictive_ability(days, paths=2_000)
    >>> found.best, found.consistent < 0.01, reality_check(days, paths=2_000) > 0.2
    (4, True, True)
    """
    values = checked_performance(performance, paths)
    n, length = values.shape[0], block_or_default(values, block)
    deviation = np.sqrt(n * np.asarray(stationary_bootstrap_variance(values, length)))
    varies = deviation > 1e-12 * np.abs(values).max(axis=0)
    if not varies.any():
        return SuperiorAbility(0.0, math.nan, math.nan, math.nan, 0)
    scaled = values[:, varies] / deviation[varies]
    mean, root = scaled.mean(axis=0), math.sqrt(n)
    statistic = max(0.0, root * float(mean.max()))
    threshold = -math.sqrt(2.0 * math.log(math.log(n)) / n) if n > 2 else 0.0
    centres = np.stack([np.maximum(mean, 0.0), np.where(mean >= threshold, mean, 0.0), mean])
    above = np.zeros(3)
    for means in resampled_means(scaled, length, paths, seed):
        for k, centre in enumerate(centres):
            above[k] += np.count_nonzero(np.maximum(root * (means - centre).max(axis=1), 0.0) > statistic)
    lower, consistent, upper = (float(p) for p in above / paths)
    return SuperiorAbility(statistic, lower, consistent, upper, int(np.flatnonzero(varies)[mean.argmax()]))


def superior_trials(
    performance: ArrayLike, *, level: float = 0.05, block: float | None = None, paths: int = 10_000, seed: int = 0
) -> IntArray:
    """Return the trials that beat the benchmark, the chance of a single false one held at ``level``.

    Parameters
    ----------
    performance, block, paths, seed
        As :func:`reality_check` takes them.
    level : float
        In (0, 1).

    Returns
    -------
    (m,) array of int64
        Their columns, ascending.

    Raises
    ------
    InvalidInput
        As :func:`reality_check`.

    References
    ----------
    .. [1] J. P. Romano, M. Wolf, "Stepwise Multiple Testing as Formalized Data Snooping", Econometrica 73(4), 2005,
       studentised.
    """
    values = checked_performance(performance, paths)
    if not 0.0 < level < 1.0:
        raise InvalidInput("level", "must lie in (0, 1)", level)
    n, length = values.shape[0], block_or_default(values, block)
    deviation = np.sqrt(n * np.asarray(stationary_bootstrap_variance(values, length)))
    left = np.flatnonzero(deviation > 1e-12 * np.abs(values).max(axis=0))
    found: list[int] = []
    while left.size:
        scaled = values[:, left] / deviation[left]
        mean, root = scaled.mean(axis=0), math.sqrt(n)
        largest = [root * (means - mean).max(axis=1) for means in resampled_means(scaled, length, paths, seed)]
        superior = root * mean > np.quantile(np.concatenate(largest), 1.0 - level)
        if not superior.any():
            break
        found += left[superior].tolist()
        left = left[~superior]
    return np.array(sorted(found), dtype=np.int64)


def _columns(series: ArrayLike) -> FloatArray:
    values = np.asarray(series, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[0] < 2:
        raise InvalidInput("series", "must have at least 2 rows", values.shape)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        raise InvalidInput(f"series[{', '.join(map(str, wrong[0]))}]", "must be finite", float(values[tuple(wrong[0])]))
    return values


def checked_performance(performance: ArrayLike, paths: int) -> FloatArray:
    """Return days by trials as the tests here take them; bad input raises InvalidInput."""
    values = np.asarray(performance, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1:
        raise InvalidInput("performance", "must be (days, trials), at least 2 days and a trial", values.shape)
    if isinstance(paths, bool) or paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    return _columns(values)


def block_or_default(values: FloatArray, block: float | None) -> float:
    """Return a mean block length of at least 1; where none is given, the cube root of the days."""
    length = default_block(values.shape[0]) if block is None else float(block)
    if not length >= 1.0:
        raise InvalidInput("block", "must be at least 1", block)
    return length


def resampled_means(values: FloatArray, block: float, paths: int, seed: int) -> Iterator[FloatArray]:
    """Yield means of stationary bootstrap samples, (m, n_trials): how often each day was drawn, times the days."""
    n = values.shape[0]
    generator = np.random.default_rng(seed)
    size = max(1, _CELLS // max(n, values.shape[1]))
    for begin in range(0, paths, size):
        positions = stationary_positions(n, min(size, paths - begin), block, generator)
        positions += n * np.arange(positions.shape[0])[:, None]
        drawn = np.bincount(positions.ravel(), minlength=positions.size).reshape(positions.shape).astype(np.float64)
        yield drawn @ values / n
