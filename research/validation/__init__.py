"""Validation: splits, walk-forward, Monte Carlo, overfitting, the inference on what they find, and the gate."""

from research.metrics.inference import deflated_sharpe_ratio, probabilistic_sharpe_ratio
from research.validation.challenge import Challenge, challenge
from research.validation.gate import Check, GateVerdict, evaluate_gate
from research.validation.intervals import backtest_intervals
from research.validation.overfitting import Overfitting, probability_of_backtest_overfitting
from research.validation.purged_splits import CombinatorialPurgedKFold, PurgedKFold
from research.validation.resampling import resample_trades
from research.validation.snooping import reality_check, superior_predictive_ability, superior_trials
from research.validation.splits import Fold, walk_forward_folds
from research.validation.walk_forward import WalkForwardResult, walk_forward

__all__ = [
    "Challenge",
    "Check",
    "CombinatorialPurgedKFold",
    "Fold",
    "GateVerdict",
    "Overfitting",
    "PurgedKFold",
    "WalkForwardResult",
    "backtest_intervals",
    "challenge",
    "deflated_sharpe_ratio",
    "evaluate_gate",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "reality_check",
    "resample_trades",
    "superior_predictive_ability",
    "superior_trials",
    "walk_forward",
    "walk_forward_folds",
]
