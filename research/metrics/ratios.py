"""Ratios that complete the usual ones: tails, downside, drawdown. They annualise what they say they annualise.

Conventions are Bacon's where libraries disagree: returns simple and per period, drawdowns of the compounded curve with
the start as its first peak, and a yearly return that compounds.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from research.kernel import FloatArray
from research.metrics.drawdown import drawdown, ulcer_index
from research.metrics.returns import cagr, finite_series, is_constant


def tail_ratio(returns: ArrayLike, level: float = 0.05) -> float:
    """Return the upper quantile of the returns over the absolute lower one.

    Parameters
    ----------
    returns : (n,) array_like
    level : float
        Of the lower quantile, 0.05: the 95th percentile over the 5th, both linearly interpolated.

    Returns
    -------
    float
        NaN without returns, or where the lower quantile is 0.
    """
    values = finite_series(returns, "returns")
    if values.size == 0:
        return math.nan
    low, high = (float(q) for q in np.quantile(values, [level, 1.0 - level]))
    return high / abs(low) if low != 0.0 else math.nan


def gaussian_value_at_risk(returns: ArrayLike, level: float = 0.05) -> float:
    r"""Return the quantile of a normal distribution with the returns' mean and deviation (``ddof=1``).

    .. math:: \bar r + z_\alpha s

    Negative where a loss is expected at this level, like :func:`research.metrics.value_at_risk`; NaN with fewer than
    two returns.
    """
    from scipy.special import ndtri

    values = finite_series(returns, "returns")
    return float(values.mean() + ndtri(level) * values.std(ddof=1)) if values.size > 1 else math.nan


def downside_potential(returns: ArrayLike, target: float = 0.0) -> float:
    """Return the mean shortfall below ``target``, over all periods and positive; NaN without returns."""
    values = finite_series(returns, "returns")
    return float(np.maximum(target - values, 0.0).mean()) if values.size else math.nan


def upside_potential_ratio(returns: ArrayLike, target: float = 0.0) -> float:
    """Return the mean excess above ``target`` by the root mean square of shortfalls, both over all periods.

    Infinite without a shortfall, NaN without either.

    References
    ----------
    .. [1] F. A. Sortino, R. van der Meer, A. Plantinga, "The Dutch Triangle", Journal of Portfolio Management 26(1),
       1999.
    """
    values = finite_series(returns, "returns") - target
    if values.size == 0:
        return math.nan
    return _ratio(float(np.maximum(values, 0.0).mean()), float(np.sqrt(np.mean(np.minimum(values, 0.0) ** 2))))


def gain_loss_ratio(returns: ArrayLike) -> float:
    """Return the sum of gains over the sum of losses of all periods: Omega at 0.

    Infinite without a loss, NaN with neither.

    References
    ----------
    .. [1] A. E. Bernardo, O. Ledoit, "Gain, Loss, and Asset Pricing", Journal of Political Economy 108(1), 2000.
    """
    values = finite_series(returns, "returns")
    return _ratio(float(values[values > 0.0].sum()), abs(float(values[values < 0.0].sum())))


def d_ratio(returns: ArrayLike) -> float:
    """Return losses over gains, each weighed by how many periods had them; 0 without a loss, NaN with neither.

    References
    ----------
    .. [1] C. Bacon, "Practical Portfolio Performance Measurement and Attribution", 2nd ed., 2008, p. 87.
    """
    values = finite_series(returns, "returns")
    gains, losses = values[values > 0.0], values[values < 0.0]
    return _ratio(losses.size * abs(float(losses.sum())), gains.size * float(gains.sum()))


def adjusted_sharpe(returns: ArrayLike, periods_per_year: float) -> float:
    r"""Return Pezier's ratio: the annualised Sharpe ratio less a charge for skew and kurtosis.

    .. math:: S \left(1 + \frac{\gamma_3}{6} S - \frac{\gamma_4 - 3}{24} S^2\right)

    Parameters
    ----------
    returns : (n,) array_like
    periods_per_year : float
        Here :math:`S` is the **compounded** yearly return over the annualised deviation (``ddof=1``), as in Bacon's
        tables; skew and raw kurtosis are moments of the periods (``ddof=0``).

    Returns
    -------
    float
        NaN with fewer than two returns or where all are equal.

    References
    ----------
    .. [1] J. Pezier, A. White, "The Relative Merits of Investable Hedge Fund Indices", ICMA Centre, 2006.

    Examples
    --------
    >>> monthly = [0.3, 2.6, 1.1, -1.0, 1.5, 2.5, 1.6, 6.7, -1.4, 4.0, -0.5, 8.1,
    ...            4.0, -3.7, -6.1, 1.7, -4.9, -2.2, 7.0, 5.8, -6.5, 2.4, -0.5, -0.9]
    >>> round(adjusted_sharpe(np.array(monthly) / 100.0, 12), 4)
    0.7591
    """
    values = finite_series(returns, "returns")
    if values.size < 2 or is_constant(values):
        return math.nan
    ratio = _yearly(values, periods_per_year) / (float(values.std(ddof=1)) * math.sqrt(periods_per_year))
    apart = values - values.mean()
    variance = float(np.mean(apart**2))
    skew, kurtosis = float(np.mean(apart**3)) / variance**1.5, float(np.mean(apart**4)) / variance**2
    return ratio * (1.0 + skew / 6.0 * ratio - (kurtosis - 3.0) / 24.0 * ratio**2)


def pain_index(returns: ArrayLike) -> float:
    """Return the mean depth of the drawdown over all periods, positive; NaN without returns."""
    curve = _curve(returns)
    return float(-drawdown(curve)[1:].mean()) if curve.size > 1 else math.nan


def pain_ratio(returns: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return the compounded yearly return, less a yearly ``risk_free``, by the pain index.

    Infinite where a gain met no drawdown, NaN where nothing happened.
    """
    return _over(returns, periods_per_year, risk_free, pain_index(returns))


def martin_ratio(returns: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return the compounded yearly return, less a yearly ``risk_free``, by the ulcer index: also called ulcer ratio.

    Infinite where a gain met no drawdown, NaN where nothing happened.

    References
    ----------
    .. [1] P. G. Martin, B. B. McCann, "The Investor's Guide to Fidelity Funds", 1989.
    """
    return _over(returns, periods_per_year, risk_free, ulcer_index(_curve(returns)))


def burke_ratio(returns: ArrayLike, periods_per_year: float, risk_free: float = 0.0) -> float:
    """Return the compounded yearly return by the root of the sum of squared depths of all drawdowns.

    Each drawdown, from peak to recovery, counts once with its greatest depth.

    References
    ----------
    .. [1] G. Burke, "A Sharper Sharpe Ratio", Futures 23(3), 1994.
    """
    from research.metrics.drawdown import drawdowns

    curve = _curve(returns)
    depth = drawdowns(curve)["depth"] if curve.size > 1 else np.empty(0)
    return _over(returns, periods_per_year, risk_free, float(np.sqrt(np.sum(np.square(depth)))))


def _curve(returns: ArrayLike) -> FloatArray:
    return np.concatenate(([1.0], np.cumprod(1.0 + finite_series(returns, "returns"))))


def _yearly(values: FloatArray, periods_per_year: float) -> float:
    return cagr(float(np.prod(1.0 + values)), values.size, periods_per_year)


def _over(returns: ArrayLike, periods_per_year: float, risk_free: float, depth: float) -> float:
    values = finite_series(returns, "returns")
    return _ratio(_yearly(values, periods_per_year) - risk_free, depth) if values.size else math.nan


def _ratio(above: float, below: float) -> float:
    if below == 0.0:
        return math.inf if above > 0.0 else math.nan
    return above / below
