"""The headline figures of a backtest or a live account in one dictionary; each is computed in its own module."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from research.errors import InvalidInput, SchemaMismatch
from research.market.bars import arrays, epoch_ns
from research.metrics.drawdown import deepest_drawdown, longest_drawdown_bars, ulcer_index
from research.metrics.returns import (
    DAYS_PER_YEAR,
    bar_returns,
    cagr,
    conditional_value_at_risk,
    daily_equity,
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
        ``sharpe``, ``sortino``, ``volatility``, ``omega``, ``var_95`` and ``cvar_95`` are of **daily** (UTC)
        returns, annualised with 365 where annualised: bars within a day are not independent, and figures of
        different timeframes compare. ``sharpe_bar`` is of bar returns, annualised with ``bars_per_year``.
        ``max_drawdown``, ``ulcer_index`` (fractions) and ``longest_drawdown_bars`` are of bars. ``cagr`` counts bars,
        ``calmar`` is its ratio to the deepest drawdown: both are NaN for less than a year of bars, since a return of
        some months raised to a yearly power says what nobody has seen (+262 % in 120 days would be shown as
        4,900 %); ``calmar`` also without a drawdown. Trade figures are per closed trade, that is per **reduction**
        of a position, net of fees and funding. NaN is a figure that does not exist.

    Raises
    ------
    InvalidInput
        If there is no bar, equity is not finite, or the first equity is not positive.
    """
    if equity.is_empty():
        raise InvalidInput("equity", "must have at least one bar", 0)
    if not bars_per_year > 0:
        raise InvalidInput("bars_per_year", "must be positive", bars_per_year)
    if "pnl" not in trades.columns:
        raise SchemaMismatch("trades.pnl", "is required; columns are", trades.columns)
    values, ts = arrays(equity, ["equity"])[0], epoch_ns(equity)
    first = float(values[0]) if initial_equity is None else float(initial_equity)
    curve = values if initial_equity is None else np.concatenate(([first], values))
    deepest = deepest_drawdown(curve)
    growth = float(curve[-1]) / first
    daily = bar_returns(daily_equity(ts, values)[1], first)
    n_bars = curve.size - 1
    rate = cagr(growth, n_bars, bars_per_year) if n_bars >= bars_per_year else math.nan
    pnl = arrays(trades, ["pnl"])[0]
    return {
        "total_return": growth - 1.0,
        "cagr": rate,
        "volatility": volatility(daily, DAYS_PER_YEAR),
        "sharpe": sharpe(daily, DAYS_PER_YEAR),
        "sharpe_bar": sharpe(bar_returns(curve), bars_per_year),
        "sortino": sortino(daily, DAYS_PER_YEAR),
        "omega": omega(daily),
        "var_95": value_at_risk(daily),
        "cvar_95": conditional_value_at_risk(daily),
        "max_drawdown": deepest.depth,
        "longest_drawdown_bars": float(longest_drawdown_bars(curve)),
        "ulcer_index": ulcer_index(curve, includes_start=initial_equity is not None),
        "calmar": rate / abs(deepest.depth) if deepest.depth < 0 else math.nan,
        "days": float(daily.size),
        "trades": float(pnl.size),
        "win_rate": win_rate(pnl),
        "profit_factor": profit_factor(pnl),
        "expectancy": expectancy(pnl),
        "payoff_ratio": payoff_ratio(pnl),
        "sqn": system_quality_number(pnl),
    }
