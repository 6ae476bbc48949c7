"""Tear sheets and figures: plotly figures of polars frames, and one offline page. It computes no figure of merit."""

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
from research.report.monte_carlo_section import MonteCarloPart
from research.report.tear_sheet import TearSheet, tear_sheet

__all__ = [
    "MonteCarloPart",
    "TearSheet",
    "equity_with_drawdown",
    "exposure",
    "feature_importance",
    "folds_bar",
    "monte_carlo_fan",
    "monte_carlo_hist",
    "monthly_heatmap",
    "return_distribution",
    "rolling_sharpe",
    "tear_sheet",
    "trades_on_price",
    "trials_scatter",
]
