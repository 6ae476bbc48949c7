"""Return, risk and tail figures of one equity curve; it draws no inference from them.

Conventions, once for the whole platform: a year has 365 days (8,760 hours, 525,600 minutes); standard deviations
have ``ddof=1``; the Sortino ratio divides by the root mean square of the shortfalls over **all** bars; CAGR counts
bars, not calendar days; VaR is the historical percentile, linearly interpolated, and CVaR the mean of the
``floor((n - 1) * 5 %) + 1`` worst returns. The risk-free rate is zero unless given per bar.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.market.bars import NS_PER_DAY

DAYS_PER_YEAR = 365.0
# A return from two equities carries about 2 ulp of 1; a spread below four is a constant series.
NOISE = 4 * float(np.finfo(np.float64).eps)


def finite_series(values: ArrayLike, subject: str) -> FloatArray:
    """Return a one-dimensional float64 array, refusing NaN and infinities."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise InvalidInput(subject, "must have one dimension", found.shape)
    bad = np.flatnonzero(~np.isfinite(found))
    if bad.size:
        raise InvalidInput(f"{subject}[{bad[0]}]", "must be finite", float(found[bad[0]]))
    return found


def for_kernel(values: ArrayLike, dtype: DTypeLike) -> NDArray[Any]:
    """Return values as a contiguous, writable array, copied only where they are not one.

    To Numba a strided or read-only array is another type: every kernel would be compiled again.
    """
    found = np.ascontiguousarray(values, dtype=dtype)
    return found if found.flags.writeable else found.copy()


def is_constant(returns: FloatArray) -> bool:
    """Return whether returns differ by no more than rounding, so that a ratio to their spread does not exist.

    Examples
    --------
    >>> is_constant(np.full(50, 0.001)), is_constant(np.array([0.001, 0.002]))
    (True, False)
    """
    return bool(returns.size == 0 or np.ptp(returns) <= NOISE * (1.0 + np.abs(returns).max()))


def bar_returns(equity: ArrayLike, initial_equity: float | None = None) -> FloatArray:
    """Return the simple return of each bar.

    Parameters
    ----------
    equity : (n,) array_like
        Equity after each bar, quote currency.
    initial_equity : float, optional
        Equity before the first bar; without it the first entry is the base.

    Returns
    -------
    (n,) array of float64, or (n - 1,) without ``initial_equity``
        Fractions. 0 for a bar that began with nothing or less: a ruined account earns no return.

    Examples
    --------
    >>> bar_returns([100.0, 110.0, 99.0]).round(12).tolist()
    [0.1, -0.1]
    """
    values = finite_series(equity, "equity")
    if initial_equity is not None:
        values = np.concatenate(([initial_equity], values))
    before, after = values[:-1], values[1:]
    found = np.zeros(before.size)
    np.divide(after - before, before, out=found, where=before > 0)
    return found


def day_ends(ts: IntArray) -> tuple[IntArray, IntArray]:
    """Return the UTC days that have a bar, and the index of the last bar of each.

    By bisection: a division for each of a million bars took longer than all other figures together.

    Parameters
    ----------
    ts : (n,) array of int64
        Bar open times, ns UTC, increasing. A bar belongs to the day it opens in.

    Returns
    -------
    day : (m,) array of int64
        Days since the epoch.
    last : (m,) array of int64
        Indices into ``ts``, increasing.

    Examples
    --------
    >>> day, last = day_ends(np.array([0, 5, NS_PER_DAY, 3 * NS_PER_DAY]))
    >>> day.tolist(), last.tolist()
    ([0, 1, 3], [1, 2, 3])
    """
    if ts.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    days = np.arange(int(ts[0]) // NS_PER_DAY, int(ts[-1]) // NS_PER_DAY + 1)
    last = np.unique(np.searchsorted(ts, (days + 1) * NS_PER_DAY) - 1)
    return ts[last] // NS_PER_DAY, last


def daily_equity(ts: IntArray, equity: ArrayLike) -> tuple[IntArray, FloatArray]:
    """Return the last equity of each UTC day.

    Parameters
    ----------
    ts : (n,) array of int64
        Bar open times, ns UTC, increasing. A bar belongs to the day it opens in.
    equity : (n,) array_like
        Equity after each bar.

    Returns
    -------
    day : (m,) array of int64
        Days since the epoch, those with a bar.
    equity : (m,) array of float64
        At the day's last bar. A first or last day cut short counts as a day.
    """
    values = finite_series(equity, "equity")
    day, last = day_ends(ts)
    return day, values[last]


def daily_returns(ts: IntArray, equity: ArrayLike, initial_equity: float) -> FloatArray:
    """Return the simple return of each UTC day.

    Parameters
    ----------
    ts, equity : (n,) array
        As :func:`daily_equity` takes them.
    initial_equity : float
        Equity before the first bar, quote currency: the base of the first day.

    Returns
    -------
    (m,) array of float64
        Fractions, one for each day with a bar; 0 for a day that began with nothing or less.

    Raises
    ------
    InvalidInput
        If an equity is not finite.

    Examples
    --------
    >>> daily_returns(np.array([0, NS_PER_DAY // 2, NS_PER_DAY]), [105.0, 110.0, 99.0], 100.0).round(12).tolist()
    [0.1, -0.1]
    """
    return bar_returns(daily_equity(ts, equity)[1], initial_equity)


def total_return(returns: FloatArray) -> float:
    """Return the compounded return as a fraction."""
    return float(np.prod(1.0 + returns) - 1.0)


def sharpe(returns: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return the annualised Sharpe ratio.

    Parameters
    ----------
    returns : (n,) array_like
        Simple returns per period, fractions.
    periods_per_year : float
        365 for daily returns, 8,760 for hourly; 1 leaves it per period.
    risk_free : float
        Per period.

    Returns
    -------
    float
        Mean excess over sample standard deviation (``ddof=1``) times the root of ``periods_per_year``. NaN with
        fewer than two returns or when all are equal: the ratio does not exist.

    References
    ----------
    .. [1] W. F. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21(1), 1994.

    Examples
    --------
    >>> round(sharpe([0.010, -0.005, 0.007, 0.002], 365), 2)
    10.2
    """
    excess = finite_series(returns, "returns") - risk_free
    if excess.size < 2 or is_constant(excess):
        return math.nan
    return float(excess.mean() / excess.std(ddof=1) * math.sqrt(periods_per_year))


def volatility(returns: ArrayLike, periods_per_year: float) -> float:
    """Return the annualised standard deviation (``ddof=1``); NaN with fewer than two returns."""
    values = finite_series(returns, "returns")
    return float(values.std(ddof=1) * math.sqrt(periods_per_year)) if values.size > 1 else math.nan


def downside_deviation(returns: ArrayLike, target: float = 0.0) -> float:
    """Return the root mean square of shortfalls below ``target``, over all periods; NaN without returns."""
    values = finite_series(returns, "returns")
    if values.size == 0:
        return math.nan
    return float(np.sqrt(np.mean(np.square(np.minimum(values - target, 0.0)))))


def sortino(returns: ArrayLike, periods_per_year: float, target: float = 0.0) -> float:
    """Return the annualised Sortino ratio.

    Returns
    -------
    float
        Mean excess over ``target`` by :func:`downside_deviation`. Infinite where returns exceed the target and
        none falls short; NaN where neither happens.

    References
    ----------
    .. [1] F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", Journal of
       Investing 3(3), 1994.
    """
    values = finite_series(returns, "returns")
    if values.size == 0:
        return math.nan
    excess, shortfall = float(values.mean()) - target, downside_deviation(values, target)
    if shortfall == 0.0:
        return math.inf if excess > 0 else math.nan
    return excess / shortfall * math.sqrt(periods_per_year)


def omega(returns: ArrayLike, threshold: float = 0.0) -> float:
    """Return the sum of excesses over the sum of shortfalls; infinite without shortfall, NaN without either.

    References
    ----------
    .. [1] C. Keating and W. F. Shadwick, "A Universal Performance Measure", Journal of Performance Measurement
       6(3), 2002.
    """
    excess = finite_series(returns, "returns") - threshold
    gains, losses = float(excess[excess > 0].sum()), float(np.abs(excess[excess < 0]).sum())
    if losses == 0.0:
        return math.inf if gains > 0 else math.nan
    return gains / losses


def cagr(growth: float, n_periods: int, periods_per_year: float) -> float:
    """Return the compound annual growth rate.

    It annualises whatever it is given. Over less than a year the power magnifies chance instead of describing a
    year, and :func:`research.metrics.performance` leaves it out.

    Parameters
    ----------
    growth : float
        Final over initial equity.
    n_periods : int
        Periods between them.
    periods_per_year : float
        Of the same periods.

    Returns
    -------
    float
        Fraction per year. -1 when nothing or less is left, infinite beyond float64, NaN without a period.

    Examples
    --------
    >>> round(cagr(1.21, 730, 365.0), 12)
    0.1
    """
    if n_periods < 1 or math.isnan(growth):
        return math.nan
    if growth <= 0.0:
        return -1.0
    exponent = math.log(growth) * periods_per_year / n_periods
    return math.expm1(exponent) if exponent < 709.0 else math.inf


def value_at_risk(returns: ArrayLike, level: float = 0.05) -> float:
    """Return the historical quantile of the returns, linearly interpolated; NaN without returns."""
    values = finite_series(returns, "returns")
    return float(np.quantile(values, level)) if values.size else math.nan


def conditional_value_at_risk(returns: ArrayLike, level: float = 0.05) -> float:
    """Return the mean of the ``floor((n - 1) * level) + 1`` worst returns; NaN without returns."""
    values = finite_series(returns, "returns")
    if values.size == 0:
        return math.nan
    worst = int((values.size - 1) * level) + 1
    return float(np.partition(values, worst - 1)[:worst].mean())
