"""Backtests of target exposures on bars, their results and a second opinion on them; it searches no parameters."""

from research.backtest.crosscheck import crosscheck_vectorbt
from research.backtest.result import Result
from research.backtest.simulate import simulate

__all__ = ["Result", "crosscheck_vectorbt", "simulate"]
