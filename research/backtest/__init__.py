"""Backtests of targets and orders on bars, sweeps of them, their results and a second opinion; it trains nothing."""

from research.backtest.combinations import spec_at
from research.backtest.crosscheck import crosscheck_vectorbt
from research.backtest.legs import Leg
from research.backtest.plateau import Plateau, plateau
from research.backtest.result import Result
from research.backtest.simulate import simulate, simulate_portfolio
from research.backtest.surface import Surface, best
from research.backtest.sweep import Plan, Sweep, Swept, sweep

__all__ = [
    "Leg",
    "Plan",
    "Plateau",
    "Result",
    "Surface",
    "Sweep",
    "Swept",
    "best",
    "crosscheck_vectorbt",
    "plateau",
    "simulate",
    "simulate_portfolio",
    "spec_at",
    "sweep",
]
