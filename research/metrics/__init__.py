"""Figures of an equity curve and of closed trades; statistical inference on them is in research.metrics.inference."""

from research.metrics.costs import cost_share, gross_gain
from research.metrics.curve import CurveFigures, curve_figures
from research.metrics.drawdown import (
    DRAWDOWNS,
    Drawdown,
    deepest_drawdown,
    drawdown,
    drawdowns,
    longest_drawdown_bars,
    max_drawdown,
    ulcer_index,
)
from research.metrics.excursions import excursions
from research.metrics.exposure import Exposures, exposures, mean_exposure, positions_at_closes
from research.metrics.performance import curve_performance, performance, trade_performance
from research.metrics.positions import PAIR_TRADES, ROUND_TRIPS, closed_positions, pair_positions
from research.metrics.returns import (
    DAYS_PER_YEAR,
    bar_returns,
    cagr,
    conditional_value_at_risk,
    daily_equity,
    daily_returns,
    day_ends,
    downside_deviation,
    omega,
    sharpe,
    sortino,
    total_return,
    value_at_risk,
    volatility,
)
from research.metrics.tables import drawdown_table, monthly_returns, rolling_figures
from research.metrics.thinning import thinned
from research.metrics.totals import Totals, totals
from research.metrics.trades import (
    TRADES,
    closed_trades,
    expectancy,
    payoff_ratio,
    profit_factor,
    round_trips,
    system_quality_number,
    win_rate,
)

__all__ = [
    "DAYS_PER_YEAR",
    "DRAWDOWNS",
    "PAIR_TRADES",
    "ROUND_TRIPS",
    "TRADES",
    "CurveFigures",
    "Drawdown",
    "Exposures",
    "Totals",
    "bar_returns",
    "cagr",
    "closed_positions",
    "closed_trades",
    "conditional_value_at_risk",
    "cost_share",
    "curve_figures",
    "curve_performance",
    "daily_equity",
    "daily_returns",
    "day_ends",
    "deepest_drawdown",
    "downside_deviation",
    "drawdown",
    "drawdown_table",
    "drawdowns",
    "excursions",
    "expectancy",
    "exposures",
    "gross_gain",
    "longest_drawdown_bars",
    "max_drawdown",
    "mean_exposure",
    "monthly_returns",
    "omega",
    "pair_positions",
    "payoff_ratio",
    "performance",
    "positions_at_closes",
    "profit_factor",
    "rolling_figures",
    "round_trips",
    "sharpe",
    "sortino",
    "system_quality_number",
    "thinned",
    "total_return",
    "totals",
    "trade_performance",
    "ulcer_index",
    "value_at_risk",
    "volatility",
    "win_rate",
]
