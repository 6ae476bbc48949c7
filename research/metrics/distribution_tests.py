"""Tests of what a sample is distributed as, by the libraries that do them right, settings fixed. It decides nothing."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray

TRENDS = ("n", "c", "ct", "ctt")


class Outcome(NamedTuple):
    """A test's statistic and its p-value."""

    statistic: float
    p_value: float


def _series(values: ArrayLike, subject: str, least: int) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size < least:
        raise InvalidInput(subject, f"must be a series of at least {least}", found.shape)
    wrong = np.flatnonzero(~np.isfinite(found))
    if wrong.size:
        raise InvalidInput(f"{subject}[{wrong[0]}]", "must be finite", float(found[wrong[0]]))
    return found


def jarque_bera(values: ArrayLike) -> Outcome:
    """Test that a sample is normal, by its biased skew and kurtosis.

    Parameters
    ----------
    values : (n,) array_like
        At least 3.

    Returns
    -------
    Outcome
        NaN where all values are equal. The p-value is of many observations: of a hundred it is a few points off.

    Raises
    ------
    InvalidInput
        If there are too few or one is not finite.

    References
    ----------
    .. [1] C. M. Jarque, A. K. Bera, International Statistical Review 55(2), 1987; by ``scipy.stats.jarque_bera``.
    """
    from scipy import stats

    sample = _series(values, "values", 3)
    if np.ptp(sample) == 0.0:
        return Outcome(math.nan, math.nan)
    found = stats.jarque_bera(sample)
    return Outcome(float(found.statistic), float(found.pvalue))


def augmented_dickey_fuller(values: ArrayLike, lags: int = 1, trend: str = "c") -> Outcome:
    """Test that a series has a unit root: a small p-value says that it reverts.

    Parameters
    ----------
    values : (n,) array_like
        At least ``2 (lags + 2 + terms of the trend)``, and no straight line.
    lags : int
        Lagged differences, fixed: chosen by a criterion, the statistic is another one.
    trend : str
        ``n`` none, ``c`` constant, ``ct`` and linear, ``ctt`` and quadratic trend.

    Raises
    ------
    InvalidInput
        If there are too few, one is not finite, they lie on a line, or a setting is unknown.

    References
    ----------
    .. [1] D. A. Dickey, W. A. Fuller, JASA 74(366), 1979, p-values of J. G. MacKinnon; by
       ``statsmodels.tsa.stattools.adfuller``.
    """
    if trend not in TRENDS:
        raise InvalidInput("trend", f"must be one of {', '.join(TRENDS)}", trend)
    if isinstance(lags, bool) or not (lags >= 0 and lags == math.floor(lags)):
        raise InvalidInput("lags", "must be a whole number, not negative", lags)
    terms = 0 if trend == "n" else len(trend)
    series = _series(values, "values", max(6, 2 * (int(lags) + 2 + terms)))
    steps = np.diff(series)
    # The regression of a line on itself is of rank one short, and its statistic rounding.
    if np.ptp(steps) <= 1e-12 * np.abs(series).max():
        raise InvalidInput("values", "must not lie on a straight line", float(steps[0]))
    from statsmodels.tsa.stattools import adfuller

    found = adfuller(series, maxlag=int(lags), regression=trend, autolag=None, result_object=True)
    return Outcome(float(found.statistic), float(found.pvalue))


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> Outcome:
    """Test that two samples have one distribution.

    Parameters
    ----------
    first, second : (n,), (m,) array_like
        **Independent** draws: on overlapping or autocorrelated ones the p-value is far too small.

    Returns
    -------
    Outcome
        Two-sided; exact up to 10,000 values in the larger sample, of many beyond.

    Raises
    ------
    InvalidInput
        If a sample is empty or a value not finite.

    References
    ----------
    .. [1] By ``scipy.stats.ks_2samp``.
    """
    from scipy import stats

    a, b = _series(first, "first", 1), _series(second, "second", 1)
    found = stats.ks_2samp(a, b, method="exact" if max(a.size, b.size) <= 10_000 else "asymp")
    return Outcome(float(found.statistic), float(found.pvalue))


def population_stability_index(expected: ArrayLike, actual: ArrayLike) -> float:
    """Return how far counts in bins have moved: the sum of ``(a - e) ln(a / e)`` over shares.

    Parameters
    ----------
    expected, actual : (n_bins,) array_like
        Counts, not negative, at least one positive each.

    Returns
    -------
    float
        0 where shares agree; infinite where a bin is empty on one side alone.

    Raises
    ------
    InvalidInput
        If counts differ in number, are negative, or are all 0.

    Notes
    -----
    Thresholds such as 0.1 and 0.25 mean nothing without the counts: see :func:`expected_stability_index`.

    Examples
    --------
    >>> round(population_stability_index([100] * 4, [80, 110, 105, 105]), 5)
    0.01476
    """
    before, after = _series(expected, "expected", 1), _series(actual, "actual", 1)
    if before.shape != after.shape:
        raise InvalidInput("actual", f"must have the {before.size} bins of the expected", after.size)
    for name, counts in (("expected", before), ("actual", after)):
        if counts.min() < 0.0 or not counts.sum() > 0.0:
            raise InvalidInput(name, "must be counts, none negative and one positive", counts.tolist())
    e, a = before / before.sum(), after / after.sum()
    both = (e > 0.0) & (a > 0.0)
    if np.any((e > 0.0) != (a > 0.0)):
        return math.inf
    return float(np.sum((a[both] - e[both]) * np.log(a[both] / e[both])))


def expected_stability_index(n_bins: int, n_expected: float, n_actual: float) -> float:
    """Return the index that two samples of **one** distribution are expected to show.

    Parameters
    ----------
    n_bins : int
        At least 1, each holding many values.
    n_expected, n_actual : float
        Values in the samples, positive.

    Raises
    ------
    InvalidInput
        If an input is out of range.

    Examples
    --------
    >>> round(expected_stability_index(10, 100, 100), 2)  # above the folk threshold of 0.1 without any drift
    0.18
    """
    for name, value, least in (("n_bins", n_bins, 1), ("n_expected", n_expected, 1), ("n_actual", n_actual, 1)):
        if not value >= least:
            raise InvalidInput(name, f"must be at least {least}", value)
    return (n_bins - 1.0) * (1.0 / n_expected + 1.0 / n_actual)
