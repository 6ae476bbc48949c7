"""Figures of an equity curve and of closed trades; statistical inference on them is in research.metrics.inference."""

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
    downside_deviation,
    omega,
    sharpe,
    sortino,
    total_return,
    value_at_risk,
    volatility,
)
from research.metrics.trades import (
    TRADES,
    closed_trades,
    expectancy,
    payoff_ratio,
    profit_factor,
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
    "daily_equity",
    "deepest_drawdown",
    "downside_deviation",
    "drawdown",
    "expectancy",
    "longest_drawdown_bars",
    "max_drawdown",
    "omega",
    "payoff_ratio",
    "performance",
    "profit_factor",
    "sharpe",
    "sortino",
    "system_quality_number",
    "total_return",
    "ulcer_index",
    "value_at_risk",
    "volatility",
    "win_rate",
]
