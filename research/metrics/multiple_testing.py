"""What many tests do to a p-value, and to the Sharpe ratio that it came from. It knows no returns."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray

METHODS = ("independent", "bonferroni", "holm", "bhy")


def _p_values(p_values: ArrayLike) -> FloatArray:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise InvalidInput("p_values", "must be a series of at least one", values.shape)
    wrong = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if wrong.size:
        raise InvalidInput(f"p_values[{wrong[0]}]", "must lie in [0, 1]", float(values[wrong[0]]))
    return values


def bonferroni(p_values: ArrayLike) -> FloatArray:
    """Return p-values times their number, at most 1: no single false finding, whatever depends on what."""
    values = _p_values(p_values)
    return np.minimum(1.0, values * values.size)


def holm(p_values: ArrayLike) -> FloatArray:
    """Return p-values adjusted step down: as :func:`bonferroni`, never larger.

    References
    ----------
    .. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6(2),
       1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = _p_values(p_values)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (values.size - np.arange(values.size)))
    return _unsorted(np.minimum(1.0, stepped), order)


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Return p-values adjusted step up: rejecting those up to q keeps the expected share of false findings at q.

    For independent tests, or positively dependent ones.

    References
    ----------
    .. [1] Y. Benjamini, Y. Hochberg, "Controlling the False Discovery Rate", JRSS B 57(1), 1995.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.04, 0.04]
    """
    return _stepped_up(_p_values(p_values), 1.0)


def benjamini_yekutieli(p_values: ArrayLike) -> FloatArray:
    """Return p-values adjusted step up for any dependence: :func:`benjamini_hochberg` times the harmonic sum.

    References
    ----------
    .. [1] Y. Benjamini, D. Yekutieli, "The Control of the False Discovery Rate under Dependency", Annals of Statistics
       29(4), 2001.
    """
    values = _p_values(p_values)
    return _stepped_up(values, float(np.sum(1.0 / np.arange(1, values.size + 1))))


def _stepped_up(values: FloatArray, factor: float) -> FloatArray:
    order = np.argsort(values, kind="stable")
    scaled = values[order] * (factor * values.size / np.arange(1, values.size + 1))
    return _unsorted(np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1]), order)


def _unsorted(values: FloatArray, order: np.ndarray) -> FloatArray:
    found = np.empty_like(values)
    found[order] = values
    return found


class Haircut(NamedTuple):
    """A Sharpe ratio after the tests that it was chosen from.

    Parameters
    ----------
    p_single : float
        Of the ratio alone, two-sided.
    p_multiple : float
        After all tests.
    sharpe : float
        Annual ratio that alone would have that p-value.
    haircut : float
        Share of the ratio that is cut off, in [0, 1].
    """

    p_single: float
    p_multiple: float
    sharpe: float
    haircut: float


def haircut_sharpe(
    sharpe_annual: float, years: float, n_tests: int, *, method: str = "independent", n_obs: int | None = None,
    other_p_values: ArrayLike | None = None,
) -> Haircut:  # fmt: skip
    """Return what is left of an annual Sharpe ratio when as many tests were made.

    Parameters
    ----------
    sharpe_annual : float
        Positive; corrected for autocorrelation where there is any.
    years : float
        Length of its record.
    n_tests : int
        Tests made, its own included.
    method : str
        ``independent``: 1 - (1 - p)^N. ``bonferroni``: N p. ``holm`` and ``bhy`` need the p-values of the other tests.
    n_obs : int, optional
        Observations: p-values are then of a t distribution with one degree less; without it of the normal one.
    other_p_values : (n_tests - 1,) array_like, optional
        Of the other tests, for ``holm`` and ``bhy``.

    Raises
    ------
    InvalidInput
        If an input is out of range or missing.

    References
    ----------
    .. [1] C. R. Harvey, Y. Liu, "Backtesting", Journal of Portfolio Management 42(1), 2015.

    Examples
    --------
    >>> found = haircut_sharpe(0.75, 20, 200)
    >>> round(found.p_multiple, 3), round(found.sharpe, 2), round(found.haircut, 2)
    (0.147, 0.32, 0.57)
    """
    from scipy.stats import norm, t

    if not sharpe_annual > 0.0:
        raise InvalidInput("sharpe_annual", "must be positive", sharpe_annual)
    if not years > 0.0:
        raise InvalidInput("years", "must be positive", years)
    if isinstance(n_tests, bool) or not (n_tests >= 1 and n_tests == math.floor(n_tests)):
        raise InvalidInput("n_tests", "must be a whole number of at least 1", n_tests)
    if method not in METHODS:
        raise InvalidInput("method", f"must be one of {', '.join(METHODS)}", method)
    if n_obs is not None and n_obs < 2:
        raise InvalidInput("n_obs", "must be at least 2", n_obs)
    law = norm if n_obs is None else t(n_obs - 1)
    single = 2.0 * float(law.sf(sharpe_annual * math.sqrt(years)))
    if method == "independent":
        multiple = -math.expm1(n_tests * math.log1p(-single)) if single < 1.0 else 1.0
    elif method == "bonferroni":
        multiple = min(1.0, n_tests * single)
    else:
        others = np.asarray([] if other_p_values is None else other_p_values, dtype=np.float64)
        if others.size != n_tests - 1:
            raise InvalidInput("other_p_values", f"must be the {n_tests - 1} of the other tests", others.size)
        adjust = holm if method == "holm" else benjamini_yekutieli
        multiple = float(adjust(np.append(single, others))[0])
    # Never above what it was: by rounding where one test was made, and without bound where p is too small for a float.
    left = min(sharpe_annual, max(0.0, float(law.isf(multiple / 2.0)) / math.sqrt(years)))
    return Haircut(single, multiple, left, 1.0 - left / sharpe_annual)
