"""The headline figures of a backtest or a live account in one dictionary; each is computed in its own module."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput, SchemaMismatch
from research.kernel import FloatArray, IntArray
from research.market.bars import arrays, epoch_ns
from research.metrics.curve import curve_figures
from research.metrics.returns import (
    DAYS_PER_YEAR,
    bar_returns,
    cagr,
    conditional_value_at_risk,
    day_ends,
    omega,
    sharpe,
    sortino,
    value_at_risk,
    volatility,
)
from research.metrics.trades import expectancy, payoff_ratio, profit_factor, system_quality_number, win_rate


def performance(
    equity: pl.DataFrame, trades: pl.DataFrame, bars_per_year: float, *, initial_equity: float | None = None
) -> dict[str, float]:
    """Return the headline figures of one account.

    Parameters
    ----------
    equity : polars.DataFrame
        Columns ``ts`` (bar open) and ``equity`` (after the bar's close, quote currency), one row per bar.
    trades : polars.DataFrame
        Column ``pnl``: net profit of each closed trade, quote currency.
    bars_per_year : float
        365 days' worth: 525,600 for 1m.
    initial_equity : float, optional
        Equity before the first bar and the first peak; without it the first row's.

    Returns
    -------
    dict of str to float
        Those of :func:`curve_performance` and :func:`trade_performance`.

    Raises
    ------
    InvalidInput
        If there is no bar, equity is not finite, or the first equity is not positive.
    """
    if equity.is_empty():
        raise InvalidInput("equity", "must have at least one bar", 0)
    if "pnl" not in trades.columns:
        raise SchemaMismatch("trades.pnl", "is required; columns are", trades.columns)
    values, pnl = arrays(equity, ["equity"])[0], arrays(trades, ["pnl"])[0]
    return curve_performance(epoch_ns(equity), values, bars_per_year, initial_equity) | trade_performance(pnl)


def curve_performance(
    ts: IntArray, equity: FloatArray, bars_per_year: float, initial_equity: float | None = None
) -> dict[str, float]:
    """Return the headline figures of an equity curve.

    Parameters
    ----------
    ts : (n,) array of int64
        Bar open times, ns UTC, increasing.
    equity : (n,) array of float64
        After each bar's close, quote currency.
    bars_per_year : float
        365 days' worth: 525,600 for 1m.
    initial_equity : float, optional
        Equity before the first bar and the first peak; without it the first row's.

    Returns
    -------
    dict of str to float
        ``annual_return`` (365 times the mean), ``sharpe``, ``sortino``, ``volatility``, ``omega``, ``var_95``,
        ``cvar_95``, ``var_99`` and ``cvar_99`` are of **daily** (UTC) returns, annualised with 365 where annualised:
        bars within a day are not independent, and figures of different timeframes compare. ``sharpe_bar`` is of bar
        returns, annualised with ``bars_per_year``. ``max_drawdown`` and ``ulcer_index`` (fractions) are of bars;
        ``max_drawdown_bars`` counts the bars from the peak of the deepest drawdown to its recovery, or to the last
        bar, ``max_drawdown_recovery_bars`` those from its trough to its recovery (NaN where it never recovered), and
        ``longest_drawdown_bars`` the most bars in a row below any peak. ``cagr`` counts bars, ``calmar`` is its
        ratio to the deepest drawdown: both are NaN for less than a year of bars, since a return of some months
        raised to a yearly power says what nobody has seen (+262 % in 120 days would be shown as 4,900 %); ``calmar``
        also without a drawdown. NaN is a figure that does not exist.

    Raises
    ------
    InvalidInput
        If there is no bar, equity is not finite, or the first equity is not positive.
    """
    if equity.size == 0:
        raise InvalidInput("equity", "must have at least one bar", 0)
    if not bars_per_year > 0:
        raise InvalidInput("bars_per_year", "must be positive", bars_per_year)
    starts_within = initial_equity is None
    first = float(equity[0]) if initial_equity is None else float(initial_equity)
    curve = curve_figures(equity[1:] if starts_within else equity, first)
    deepest, n_bars = curve.deepest, curve.n_bars
    growth = float(equity[-1]) / first
    daily = bar_returns(equity[day_ends(ts)[1]], first)
    rate = cagr(growth, n_bars, bars_per_year) if n_bars >= bars_per_year else math.nan
    has_recovered = deepest.recovery >= 0
    return {
        "total_return": growth - 1.0,
        "annual_return": float(daily.mean()) * DAYS_PER_YEAR,
        "cagr": rate,
        "volatility": volatility(daily, DAYS_PER_YEAR),
        "sharpe": sharpe(daily, DAYS_PER_YEAR),
        "sharpe_bar": curve.mean_return / curve.return_deviation * math.sqrt(bars_per_year),
        "sortino": sortino(daily, DAYS_PER_YEAR),
        "omega": omega(daily),
        "var_95": value_at_risk(daily),
        "cvar_95": conditional_value_at_risk(daily),
        "var_99": value_at_risk(daily, 0.01),
        "cvar_99": conditional_value_at_risk(daily, 0.01),
        "max_drawdown": deepest.depth,
        "max_drawdown_bars": float((deepest.recovery if has_recovered else n_bars) - deepest.peak),
        "max_drawdown_recovery_bars": float(deepest.recovery - deepest.trough) if has_recovered else math.nan,
        "longest_drawdown_bars": float(curve.longest_drawdown_bars),
        "ulcer_index": math.sqrt(curve.drawdown_squares / (n_bars + starts_within)),
        "calmar": rate / abs(deepest.depth) if deepest.depth < 0 else math.nan,
        "days": float(daily.size),
    }


def trade_performance(pnl: ArrayLike) -> dict[str, float]:
    """Return the headline figures of closed trades.

    Parameters
    ----------
    pnl : (n,) array_like
        Net profit of each closed trade, that is of each **reduction** of a position, net of fees and funding.

    Returns
    -------
    dict of str to float
        ``trades`` (their number), ``win_rate``, ``profit_factor``, ``expectancy``, ``payoff_ratio``, ``sqn``; NaN
        where a figure does not exist.

    Examples
    --------
    >>> trade_performance([30.0, -10.0])["profit_factor"]
    3.0
    """
    values = np.asarray(pnl, dtype=np.float64)
    return {
        "trades": float(values.size),
        "win_rate": win_rate(values),
        "profit_factor": profit_factor(values),
        "expectancy": expectancy(values),
        "payoff_ratio": payoff_ratio(values),
        "sqn": system_quality_number(values),
    }
