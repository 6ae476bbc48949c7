"""What choosing the best of many trials does to it, as figures for a gate and a report. It decides nothing.

Beside every one of these stands what it cannot see: a look at the future passes all of them, and where all trials are
equally good the choice among them is arbitrary, which PBO reports as overfitting.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.metrics.effective_trials import effective_trials
from research.validation.overfitting import pbo_spread, pbo_without_skill, probability_of_backtest_overfitting
from research.validation.snooping import reality_check, superior_predictive_ability, superior_trials

NAMES = (
    "pbo", "pbo_p05", "pbo_p95", "pbo_p_value", "loss_probability", "spa_p", "reality_check_p", "superior_trials",
    "effective_trials",
)  # fmt: skip


def snooping_figures(
    returns: ArrayLike, *, blocks: int = 16, paths: int = 10_000, samples: int = 100, seed: int = 0
) -> dict[str, float]:
    """Return the figures of :data:`NAMES` of all trials of a search.

    Parameters
    ----------
    returns : (n_days, n_trials) array_like
        Simple daily returns of every trial; one that did not trade is zeros.
    blocks : int
        Of CSCV.
    paths : int
        Samples of the tests.
    samples : int
        Samples of PBO's spread.
    seed : int

    Returns
    -------
    dict of str to float
        ``pbo`` with the 5th and 95th percentile of that of two thirds of the days, and ``pbo_p_value``, how often
        trials as alike but without skill have one as low; ``loss_probability``, how often the best of one half loses on
        the other; p-values of SPA (consistent) and of the Reality Check, that no trial earns anything;
        ``superior_trials``, how many do at 5 % family-wise (StepM); how many independent trials these are worth beside
        the spread of their ratios. All NaN where days or trials are too few. A p-value is at least what so many samples
        can tell, 1 / (samples + 1): none is 0.

    Raises
    ------
    InvalidInput
        If the shape does not fit or a value is not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2:
        raise InvalidInput("returns", "must be (days, trials)", values.shape)
    if values.shape[0] < 2 * blocks or values.shape[1] < 2:
        return dict.fromkeys(NAMES, math.nan)
    found = probability_of_backtest_overfitting(values, blocks)
    spread = pbo_spread(values, blocks, samples, seed=seed)
    ability = superior_predictive_ability(values, paths=paths, seed=seed)
    skilless = pbo_without_skill(values, blocks, samples, seed=seed)
    return {
        "pbo": found.pbo,
        "pbo_p05": float(np.quantile(spread, 0.05)),
        "pbo_p95": float(np.quantile(spread, 0.95)),
        "pbo_p_value": max(float(np.mean(skilless <= found.pbo)), 1.0 / (samples + 1)),
        "loss_probability": found.probability_of_loss,
        "spa_p": max(ability.consistent, 1.0 / (paths + 1)),
        "reality_check_p": max(reality_check(values, paths=paths, seed=seed), 1.0 / (paths + 1)),
        "superior_trials": float(superior_trials(values, paths=paths, seed=seed).size),
        "effective_trials": effective_trials(values, seed=seed).by_spread,
    }


def described(figures: dict[str, float]) -> pl.DataFrame:
    """Return the figures with what each says and what it cannot: ``figure``, ``value``, ``says``, ``cannot``."""
    rows = [(name, figures[name], *_WORDS[name]) for name in _WORDS if name in figures]
    schema = {"figure": pl.String, "value": pl.Float64, "says": pl.String, "cannot": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


_WORDS = {
    "trials": (
        "parameter sets that the ledger knows of on this market: searches, folds, sweeps, earlier builds, notebooks",
        "know what was tried by eye, or elsewhere",
    ),
    "effective_trials": (
        "independent trials that so many correlated ones are worth beside their spread",
        "be taken instead of the count: it is an estimate",
    ),
    "sharpe": ("annualised ratio of the chosen trial where it was chosen", "be believed: it is in sample"),
    "expected_maximum_sharpe": (
        "what the best of as many trials without skill would show",
        "hold where trials differ in more than luck",
    ),
    "deflated_sharpe": (
        "probability that the chosen one has skill, given all trials",
        "see a look at the future: that scores 1",
    ),
    "pbo": (
        "how often the best of one half of the days is below the median on the other",
        "see a look at the future, nor tell equal skill from none; it has little power",
    ),
    "pbo_p05": ("the same of two thirds of the days, 5th percentile", "be narrow, nor hold the figure itself"),
    "pbo_p95": ("the same of two thirds of the days, 95th percentile", "be narrow, nor hold the figure itself"),
    "pbo_p_value": (
        "how often trials as alike but without skill come to a PBO as low",
        "be small where all have skill",
    ),
    "loss_probability": (
        "how often the best of one half of the days loses on the other",
        "see costs that were not modelled",
    ),
    "spa_p": ("chance of so good a best trial if none earned anything (Hansen)", "see a look at the future"),
    "reality_check_p": ("the same without studentising (White)", "find a quiet trial among loud ones"),
    "superior_trials": (
        "trials that earn something; in one study of twenty a false one is among them (StepM)",
        "rank them",
    ),
}
