"""How many independent trials a set of alike ones is worth, from their returns. It deflates nothing itself.

Measured on one draw of 365 days each, against the independent trials that have the same expected best (4,000 draws):

=================================  =====  ========  ===========  ================
trials                             truth  by_error  eigenvalues  mean correlation
=================================  =====  ========  ===========  ================
2,000 independent                   2000      1788          545              2000
10 groups of 20, 0.9 within           32        32           33               182
40 groups of 50, 0.9 within          230       213          231              1954
200 neighbours on a line, 0.9         63        63           70               182
200 with 0.8 between any two           5         5           39                39
200 of these, half of them short      19        18           40               200
=================================  =====  ========  ===========  ================
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.metrics.inference import effective_number_of_trials, expected_maximum_sharpe

# Products of paths and trials held at a time (16 MB).
_AT_ONCE = 2_000_000
# Halvings of a range of log N: its relative error falls below that of the simulation by far.
_HALVINGS = 30


class EffectiveTrials(NamedTuple):
    """What correlated trials are worth.

    Parameters
    ----------
    expected_maximum : float
        Ratio that the best of them is expected to show where none has skill, in standard errors of one ratio.
    by_error : float
        Independent trials with that best, each with the standard error of one ratio; in [1, trials that vary].
    by_spread : float
        Independent trials with that best, where they spread as much as these do **across** trials. This one belongs to
        the variance across trials that :func:`research.metrics.inference.deflated_sharpe_ratio` takes: that variance is
        already the smaller for what trials have in common, and ``by_error`` or a mean correlation beside it would count
        it twice: with 200 trials, 0.8 between any two, the best is expected at 1.23 errors, and that reckoning with the
        mean correlation says 0.98.
    """

    expected_maximum: float
    by_error: float
    by_spread: float


def effective_trials(returns: ArrayLike, *, paths: int = 4_000, seed: int = 0) -> EffectiveTrials:
    """Return how many independent trials show the same best as these would by chance.

    Parameters
    ----------
    returns : (n, n_trials) array_like
        Simple returns per period of every trial. One that never varies (it did not trade) is left out.
    paths : int
        Draws of the best; with 4,000 the numbers are off by some 3 %, and with more trials than periods up to a tenth
        too low: the sum over few periods has thinner tails than the normal law.
    seed : int

    Returns
    -------
    EffectiveTrials
        NaN throughout where no trial varies; ``by_spread`` is 1 where all trials are one.

    Raises
    ------
    InvalidInput
        If the shape does not fit, a value is not finite, or ``paths`` is below 1.

    Notes
    -----
    Ratios of skilless trials are drawn by weighting each period's returns with one normal number for all trials
    (multiplier bootstrap [1]_): they then correlate as the trials do, of which no matrix is made. Best and worst are
    both used. More trials than periods are no hindrance. Dependence in time is not kept.

    References
    ----------
    .. [1] V. Chernozhukov, D. Chetverikov, K. Kato, "Gaussian Approximations and Multiplier Bootstrap for Maxima of
       Sums of High-Dimensional Random Vectors", Annals of Statistics 41(6), 2013.

    Examples
    --------
    >>> common = np.random.default_rng(1).normal(size=(500, 1))
    >>> found = effective_trials(np.hstack([common, 2 * common, 3 * common]))
    >>> found.by_error, found.by_spread
    (1.0, 1.0)
    """
    if isinstance(paths, bool) or paths < 1:
        raise InvalidInput("paths", "must be at least 1", paths)
    standard = _standardised(returns)
    n, count = standard.shape
    if count == 0:
        return EffectiveTrials(math.nan, math.nan, math.nan)
    generator = np.random.default_rng(seed)
    best = variance = 0.0
    at_once = max(1, _AT_ONCE // max(n, count))
    for first in range(0, paths, at_once):
        drawn = generator.standard_normal((min(at_once, paths - first), n)) @ standard / math.sqrt(n)
        best += float(np.sum(drawn.max(axis=1) - drawn.min(axis=1))) / 2.0
        if count > 1:
            variance += float(drawn.var(axis=1, ddof=1).sum())
    best, spread = best / paths, math.sqrt(variance / paths)
    # Alike but for rounding: their spread is noise, and a ratio of two noises says nothing.
    is_one = spread <= 1e-7
    return EffectiveTrials(best, _independent(best, count), 1.0 if is_one else _independent(best / spread, count))


def effective_trials_by_eigenvalues(returns: ArrayLike) -> float:
    """Return the effective number of independent trials by the eigenvalues of their correlations.

    Parameters
    ----------
    returns : (n, n_trials) array_like
        As :func:`effective_trials` takes them.

    Returns
    -------
    float
        Each eigenvalue counts as 1 where it reaches 1, plus its fractional part; NaN where no trial varies. Too low
        where there are more trials than a fraction of the periods, as it can hardly exceed these.

    Raises
    ------
    InvalidInput
        If the shape does not fit or a value is not finite.

    References
    ----------
    .. [1] J. Li, L. Ji, "Adjusting Multiple Testing in Multilocus Analyses Using the Eigenvalues of a Correlation
       Matrix", Heredity 95, 2005, eq. 5.

    Examples
    --------
    >>> alike = np.array([[1.0, 1.0], [-1.0, -1.0], [2.0, 2.0]])
    >>> effective_trials_by_eigenvalues(alike)
    1.0
    """
    standard = _standardised(returns)
    n, count = standard.shape
    if count == 0:
        return math.nan
    # The smaller of the two products has the same eigenvalues but for zeros.
    product = standard.T @ standard if count <= n else standard @ standard.T
    found = np.linalg.eigvalsh(product / n)
    # Whole numbers come out with rounding, and 0.999... of a fractional part would be a trial too many.
    found = np.where(np.abs(found - np.round(found)) < 1e-9 * count, np.round(found), found)
    return float(np.sum((found >= 1.0) + (found - np.floor(found))))


def effective_trials_by_correlation(returns: ArrayLike) -> float:
    """Return :func:`research.metrics.inference.effective_number_of_trials` at the mean correlation of the trials.

    Parameters
    ----------
    returns : (n, n_trials) array_like
        As :func:`effective_trials` takes them.

    Returns
    -------
    float
        In [1, trials that vary]; NaN where none varies. Far too high where trials come in groups.

    Raises
    ------
    InvalidInput
        If the shape does not fit or a value is not finite.

    References
    ----------
    .. [1] D. H. Bailey, M. Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40(5), 2014,
       appendix A.3, eq. 9.

    Examples
    --------
    >>> effective_trials_by_correlation([[1.0, 1.0], [-1.0, -1.0], [2.0, 2.0]])
    1.0
    """
    standard = _standardised(returns)
    count = standard.shape[1]
    if count < 2:
        return float(count) if count else math.nan
    together = float(standard.sum(axis=1).var())  # of the sum: no matrix of pairs is made
    shared = min(1.0, max(-1.0, (together - count) / (count * (count - 1.0))))
    # Copies come out a rounding below 1.
    return effective_number_of_trials(count, 1.0 if shared > 1.0 - 1e-12 else shared)


def _standardised(returns: ArrayLike) -> FloatArray:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2:
        raise InvalidInput("returns", "must be (periods, trials) with at least 2 periods", values.shape)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        raise InvalidInput(f"returns[{wrong[0][0]}, {wrong[0][1]}]", "must be finite", float(values[tuple(wrong[0])]))
    varying = values[:, np.ptp(values, axis=0) > 0.0]
    # To unit size first: the square of a return of 1e-200 is 0.
    varying = varying / np.abs(varying).max(axis=0, initial=0.0)
    return (varying - varying.mean(axis=0)) / varying.std(axis=0)


def _independent(best: float, most: int) -> float:
    """Return how many independent standard normals have ``best`` as their expected maximum, within [1, ``most``]."""
    if expected_maximum_sharpe(most, exact=True) <= best:
        return float(most)
    low, high = 0.0, math.log(most)
    if best <= expected_maximum_sharpe(1, exact=True) + 1e-9:
        return 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if expected_maximum_sharpe(math.exp(middle), exact=True) < best else (low, middle)
    return math.exp(0.5 * (low + high))
