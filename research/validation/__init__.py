"""Validation: splits, walk-forward, Monte Carlo, the inference on what they find, and the gate."""

from research.metrics.inference import deflated_sharpe_ratio, probabilistic_sharpe_ratio
from research.validation.gate import Check, GateVerdict, evaluate_gate
from research.validation.monte_carlo import MonteCarloResult, monte_carlo
from research.validation.splits import Fold, walk_forward_folds
from research.validation.walk_forward import WalkForwardResult, walk_forward

__all__ = [
    "Check",
    "Fold",
    "GateVerdict",
    "MonteCarloResult",
    "WalkForwardResult",
    "deflated_sharpe_ratio",
    "evaluate_gate",
    "monte_carlo",
    "probabilistic_sharpe_ratio",
    "walk_forward",
    "walk_forward_folds",
]
