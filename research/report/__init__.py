"""Tear sheets, figures and the daily record, from polars frames. It computes no figure of merit."""

from research.report.daily_record import daily_record, daily_record_of
from research.report.figures import (
    equity_with_drawdown,
    exposure,
    feature_importance,
    folds_bar,
    monte_carlo_fan,
    monte_carlo_hist,
    monthly_heatmap,
    return_distribution,
    rolling_sharpe,
    trades_on_price,
    trials_scatter,
)
from research.report.markdown import markdown_report
from research.report.monte_carlo_section import MonteCarloPart
from research.report.tear_sheet import TearSheet, tear_sheet
from research.report.trade_figures import profit_by_holding, profit_by_hour, trade_distribution

__all__ = [
    "MonteCarloPart",
    "TearSheet",
    "daily_record",
    "daily_record_of",
    "equity_with_drawdown",
    "exposure",
    "feature_importance",
    "folds_bar",
    "markdown_report",
    "monte_carlo_fan",
    "monte_carlo_hist",
    "monthly_heatmap",
    "profit_by_holding",
    "profit_by_hour",
    "return_distribution",
    "rolling_sharpe",
    "tear_sheet",
    "trade_distribution",
    "trades_on_price",
    "trials_scatter",
]
