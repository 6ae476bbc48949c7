"""Figures of an equity curve and of closed trades; statistical inference on them is in research.metrics.inference."""

from research.metrics.costs import cost_share, gross_gain
from research.metrics.drawdown import (
    Drawdown,
    deepest_drawdown,
    drawdown,
    longest_drawdown_bars,
    max_drawdown,
    ulcer_index,
)
from research.metrics.performance import performance
from research.metrics.returns import (
    DAYS_PER_YEAR,
    bar_returns,
    cagr,
    conditional_value_at_risk,
    daily_equity,
    daily_returns,
    downside_deviation,
    omega,
    sharpe,
    sortino,
    total_return,
    value_at_risk,
    volatility,
)
from research.metrics.thinning import thinned
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
    "TRADES",
    "Drawdown",
    "bar_returns",
    "cagr",
    "closed_trades",
    "conditional_value_at_risk",
    "cost_share",
    "daily_equity",
    "daily_returns",
    "deepest_drawdown",
    "downside_deviation",
    "drawdown",
    "expectancy",
    "gross_gain",
    "longest_drawdown_bars",
    "max_drawdown",
    "omega",
    "payoff_ratio",
    "performance",
    "profit_factor",
    "round_trips",
    "sharpe",
    "sortino",
    "system_quality_number",
    "thinned",
    "total_return",
    "ulcer_index",
    "value_at_risk",
    "volatility",
    "win_rate",
]
