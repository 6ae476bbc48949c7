"""Errors and tests of Sharpe ratios beyond the probabilistic one: Lo's, the null-variance form, arrays of trials.

Ratios are per period unless a name says annual; kurtosis is raw (Normal = 3).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.metrics.inference import deflated_sharpe_ratio, expected_maximum_sharpe

_NORMAL = NormalDist()


def sharpe_standard_error(sharpe: float, n_obs: float) -> float:
    """Return the standard error of a Sharpe ratio of independent normal returns.

    Raises
    ------
    InvalidInput
        If ``n_obs`` is not positive.

    References
    ----------
    .. [1] A. W. Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4), 2002, eq. 9.

    Examples
    --------
    >>> round(sharpe_standard_error(1.5, 60), 3)
    0.188
    """
    if not n_obs > 0:
        raise InvalidInput("n_obs", "must be positive", n_obs)
    return math.sqrt((1.0 + 0.5 * sharpe * sharpe) / n_obs)


def annualisation_factor(periods: int, autocorrelations: ArrayLike = ()) -> float:
    """Return what a ratio per period is multiplied by to be one of ``periods`` periods.

    Parameters
    ----------
    periods : int
        Periods of the longer one, at least 1.
    autocorrelations : (k,) array_like
        Of the returns, at lags 1, 2, ...; those that are not given are 0. Without any it is the square root.

    Returns
    -------
    float
        NaN where the autocorrelations leave the sum of the periods no variance.

    Raises
    ------
    InvalidInput
        If ``periods`` is below 1 or a correlation outside [-1, 1].

    References
    ----------
    .. [1] Lo (2002), eq. 20.

    Examples
    --------
    >>> round(annualisation_factor(12, [0.2**k for k in range(1, 12)]), 2)
    2.88
    """
    if isinstance(periods, bool) or not 1 <= periods < math.inf or int(periods) != periods:
        raise InvalidInput("periods", "must be a whole number of at least 1", periods)
    rho = np.asarray(autocorrelations, dtype=np.float64)
    if rho.ndim != 1:
        raise InvalidInput("autocorrelations", "must be a series", rho.shape)
    rho = rho[: int(periods) - 1]
    wrong = np.flatnonzero(~(np.abs(rho) <= 1.0))
    if wrong.size:
        raise InvalidInput(f"autocorrelations[{wrong[0]}]", "must lie in [-1, 1]", float(rho[wrong[0]]))
    lags = np.arange(1, rho.size + 1)
    variance = periods + 2.0 * float((periods - lags) @ rho)
    return periods / math.sqrt(variance) if variance > 0.0 else math.nan


def annualisation_factor_of_ar1(periods: int, rho: float) -> float:
    """Return :func:`annualisation_factor` of an autoregression of order one with coefficient ``rho``."""
    if isinstance(periods, bool) or not 1 <= periods < math.inf:  # annualisation_factor would be too late
        raise InvalidInput("periods", "must be a whole number of at least 1", periods)
    return annualisation_factor(periods, float(rho) ** np.arange(1, int(periods)))


def autocorrelation_adjusted_sharpe(returns: ArrayLike, periods: int) -> float:
    """Return the Sharpe ratio over ``periods`` periods, their autocorrelation taken into account.

    Parameters
    ----------
    returns : (n,) array_like
        Simple returns per period, at least ``periods`` of them.
    periods : int
        Periods of the longer one: 365 for daily returns and a year.

    Returns
    -------
    float
        Mean over deviation (ddof=1) times :func:`annualisation_factor` of the sample's autocorrelations (biased, as
        their sum needs them); NaN where all returns are equal.

    Raises
    ------
    InvalidInput
        If returns are too few or not finite.

    References
    ----------
    .. [1] Lo (2002), eq. 20.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or values.size < 2 or values.size <= periods - 1:
        raise InvalidInput("returns", f"must be a series of at least {max(2, periods)}", values.shape)
    if not np.isfinite(values).all():
        raise InvalidInput("returns", "must be finite", float(values[~np.isfinite(values)][0]))
    if np.ptp(values) == 0.0:
        return math.nan
    centred = values - values.mean()
    whole = float(centred @ centred)
    rho = [float(centred[k:] @ centred[:-k]) / whole for k in range(1, int(periods))]
    return float(values.mean() / values.std(ddof=1)) * annualisation_factor(periods, rho)


# ---------------------------------------------------------------- variance at the null
def null_variance(
    sharpe: float, n_obs: float, skew: float = 0.0, kurtosis: float = 3.0, autocorrelation: float = 0.0
) -> float:
    """Return the variance of the estimator of a Sharpe ratio whose true value is ``sharpe``.

    Parameters
    ----------
    sharpe : float
        True ratio.
    n_obs : float
        Periods, positive.
    skew, kurtosis : float
        Of the returns, kurtosis raw.
    autocorrelation : float
        Of order one, in (-1, 1).

    Returns
    -------
    float
        Positive; NaN where the formula leaves none, as it can for a skew near its bound and much autocorrelation.

    Raises
    ------
    InvalidInput
        If an input is out of range.

    References
    ----------
    .. [1] M. Lopez de Prado, A. Lipton, V. Zoonekynd, "How to Use the Sharpe Ratio", SSRN 5520741, 2025.
    """
    if not n_obs > 0:
        raise InvalidInput("n_obs", "must be positive", n_obs)
    if not -1.0 < autocorrelation < 1.0:
        raise InvalidInput("autocorrelation", "must lie in (-1, 1)", autocorrelation)
    if kurtosis < (1.0 + skew * skew) * (1.0 - 1e-9):
        raise InvalidInput("kurtosis", f"must be raw and at least 1 + skew^2 = {1.0 + skew * skew}", kurtosis)
    rho, square = autocorrelation, autocorrelation * autocorrelation
    a, b, c = (1.0 + rho) / (1.0 - rho), (1.0 + rho + square) / (1.0 - square), (1.0 + square) / (1.0 - square)
    variance = (a - b * skew * sharpe + c * (kurtosis - 1.0) / 4.0 * sharpe * sharpe) / n_obs
    return variance if variance > 0.0 else math.nan


def probabilistic_sharpe_ratio_at_null(
    sharpe: float, n_obs: float, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0,
    autocorrelation: float = 0.0,
) -> float:  # fmt: skip
    """Return the probability that the true ratio exceeds a benchmark, the error taken where the benchmark is true.

    The form of 2025. That of 2012, :func:`research.metrics.inference.probabilistic_sharpe_ratio`, takes the error at
    the observed ratio and is the stricter one under negative skew: 0.913 for 0.987 on the same returns.

    Parameters
    ----------
    sharpe, n_obs, skew, kurtosis, benchmark
        As there.
    autocorrelation : float
        Of order one, in (-1, 1).

    Raises
    ------
    InvalidInput
        As :func:`null_variance`.

    References
    ----------
    .. [1] Lopez de Prado, Lipton and Zoonekynd (2025).

    Examples
    --------
    >>> round(probabilistic_sharpe_ratio_at_null(0.036 / 0.079, 24, -2.448, 10.164), 3)
    0.987
    """
    return _NORMAL.cdf(
        (sharpe - benchmark) / math.sqrt(null_variance(benchmark, n_obs, skew, kurtosis, autocorrelation))
    )


def minimum_track_record_length_at_null(
    sharpe: float, benchmark: float = 0.0, skew: float = 0.0, kurtosis: float = 3.0, confidence: float = 0.95,
    autocorrelation: float = 0.0,
) -> float:  # fmt: skip
    """Return how many periods :func:`probabilistic_sharpe_ratio_at_null` needs to reach ``confidence``.

    Returns
    -------
    float
        Not rounded; infinite where the observed ratio does not exceed the benchmark.

    Raises
    ------
    InvalidInput
        As :func:`null_variance`, or if ``confidence`` is outside (0.5, 1).

    Examples
    --------
    >>> round(minimum_track_record_length_at_null(0.036 / 0.079, 0.0, -2.448, 10.164), 3)
    13.029
    """
    if not 0.5 < confidence < 1.0:
        raise InvalidInput("confidence", "must lie in (0.5, 1)", confidence)
    variance = null_variance(benchmark, 1.0, skew, kurtosis, autocorrelation)
    if sharpe <= benchmark:
        return math.inf
    return variance * (_NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


def sharpe_test_power(
    null: float, alternative: float, n_obs: float, skew: float = 0.0, kurtosis: float = 3.0, level: float = 0.05,
    autocorrelation: float = 0.0,
) -> float:  # fmt: skip
    """Return how often a ratio that is truly ``alternative`` is found to exceed ``null``.

    Parameters
    ----------
    null, alternative : float
        Ratios per period.
    n_obs, skew, kurtosis, autocorrelation
        As :func:`null_variance` takes them.
    level : float
        Of the one-sided test, in (0, 1).

    Returns
    -------
    float
        In (0, 1): one minus the share of misses.

    Raises
    ------
    InvalidInput
        As :func:`null_variance`, or if ``level`` is outside (0, 1).

    Examples
    --------
    >>> round(1 - sharpe_test_power(0.0, 0.5, 24, -2.448, 10.164), 3)
    0.315
    """
    if not 0.0 < level < 1.0:
        raise InvalidInput("level", "must lie in (0, 1)", level)
    bound = null + _NORMAL.inv_cdf(1.0 - level) * math.sqrt(null_variance(null, n_obs, skew, kurtosis, autocorrelation))
    return _NORMAL.cdf(
        (alternative - bound) / math.sqrt(null_variance(alternative, n_obs, skew, kurtosis, autocorrelation))
    )


# ---------------------------------------------------------------- many trials
class TrialMoments(NamedTuple):
    """Moments of each of many trials, as :class:`research.metrics.inference.SharpeMoments` has them of one."""

    sharpe: FloatArray
    n_obs: int
    skew: FloatArray
    kurtosis: FloatArray


def trial_moments(returns: ArrayLike) -> TrialMoments:
    """Return the moments of each column of returns; NaN for one whose values are all equal.

    Parameters
    ----------
    returns : (n, n_trials) array_like
        Simple returns per period, at least 2 rows.

    Raises
    ------
    InvalidInput
        If the shape does not fit or a value is not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2:
        raise InvalidInput("returns", "must be (periods, trials) with at least 2 periods", values.shape)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        raise InvalidInput(f"returns[{wrong[0][0]}, {wrong[0][1]}]", "must be finite", float(values[tuple(wrong[0])]))
    mean = values.mean(axis=0)
    centred = values - mean
    square = centred * centred
    variance = np.where(np.ptp(values, axis=0) > 0.0, square.mean(axis=0), np.nan)
    n = values.shape[0]
    return TrialMoments(
        sharpe=mean / np.sqrt(variance * (n / (n - 1.0))), n_obs=n,
        skew=(square * centred).mean(axis=0) / variance**1.5, kurtosis=(square * square).mean(axis=0) / variance**2,
    )  # fmt: skip


def probabilistic_sharpe_ratios(moments: TrialMoments, benchmark: ArrayLike = 0.0) -> FloatArray:
    """Return :func:`research.metrics.inference.probabilistic_sharpe_ratio` of many trials at once.

    Parameters
    ----------
    moments : TrialMoments
        Of n_trials.
    benchmark : float or (n_trials,) array_like
        Ratio per period to exceed.

    Returns
    -------
    (n_trials,) array
        In [0, 1]; NaN where a moment is.
    """
    from scipy.special import ndtr

    ratio = moments.sharpe
    variance = 1.0 - moments.skew * ratio + (moments.kurtosis - 1.0) / 4.0 * ratio * ratio
    with np.errstate(invalid="ignore", divide="ignore"):
        return ndtr((ratio - np.asarray(benchmark)) * np.sqrt((moments.n_obs - 1.0) / variance))


def deflated_sharpe_ratios(moments: TrialMoments, n_trials: float | None = None) -> FloatArray:
    """Return the deflated ratio of every trial: the probability that it beats the best of as many without skill.

    Parameters
    ----------
    moments : TrialMoments
        Of all trials whose ratios say how much luck spreads.
    n_trials : float, optional
        Trials made, by default as many as there are moments.

    Returns
    -------
    (n_trials,) array
        NaN throughout where fewer than two ratios exist.
    """
    known = moments.sharpe[np.isfinite(moments.sharpe)]
    if known.size < 2:
        return np.full(moments.sharpe.shape, np.nan)
    count = float(moments.sharpe.size) if n_trials is None else n_trials
    return probabilistic_sharpe_ratios(moments, expected_maximum_sharpe(count, float(known.var(ddof=1))))


def most_trials_at_confidence(
    sharpe: float, n_obs: float, skew: float, kurtosis: float, trial_sharpe_variance: float, confidence: float = 0.95
) -> int:
    """Return the largest number of trials after which the deflated ratio still reaches ``confidence``.

    Parameters
    ----------
    sharpe, n_obs, skew, kurtosis, trial_sharpe_variance
        As :func:`research.metrics.inference.deflated_sharpe_ratio` takes them.
    confidence : float
        In (0, 1).

    Returns
    -------
    int
        0 where not even a single trial reaches it; at most 1e12.

    Raises
    ------
    InvalidInput
        As that function, or if ``confidence`` is outside (0, 1).

    Examples
    --------
    >>> most_trials_at_confidence(2.5 / 250**0.5, 1250, 0.0, 3.0, 0.5 / 250)
    88
    """
    if not 0.0 < confidence < 1.0:
        raise InvalidInput("confidence", "must lie in (0, 1)", confidence)

    def reaches(trials: int) -> bool:
        return deflated_sharpe_ratio(sharpe, n_obs, skew, kurtosis, trials, trial_sharpe_variance) >= confidence

    if not reaches(1):
        return 0
    low, high = 1, 2
    while high < 10**12 and reaches(high):
        low, high = high, min(2 * high, 10**12)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return high if reaches(high) else low
