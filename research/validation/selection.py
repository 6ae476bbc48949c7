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
from research.kernel import FloatArray
from research.metrics.inference import effective_number_of_trials
from research.validation.overfitting import pbo_spread, probability_of_backtest_overfitting
from research.validation.snooping import reality_check, superior_predictive_ability, superior_trials

NAMES = (
    "pbo", "pbo_p05", "pbo_p95", "loss_probability", "spa_p", "reality_check_p", "superior_trials", "mean_correlation",
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
        ``pbo`` with the 5th and 95th percentile of its spread; ``loss_probability``, how often the best of one half
        loses on the other; p-values of SPA (consistent) and of the Reality Check, that no trial earns anything;
        ``superior_trials``, how many do at 5 % family-wise (StepM); the mean correlation between trials and how many
        independent ones it leaves. All NaN where days or trials are too few.

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
    shared = mean_correlation(values)
    return {
        "pbo": found.pbo,
        "pbo_p05": float(np.quantile(spread, 0.05)),
        "pbo_p95": float(np.quantile(spread, 0.95)),
        "loss_probability": found.probability_of_loss,
        "spa_p": ability.consistent,
        "reality_check_p": reality_check(values, paths=paths, seed=seed),
        "superior_trials": float(superior_trials(values, paths=paths, seed=seed).size),
        "mean_correlation": shared,
        "effective_trials": math.nan if math.isnan(shared) else effective_number_of_trials(values.shape[1], shared),
    }


def mean_correlation(returns: FloatArray) -> float:
    """Return the mean correlation over all pairs of columns that vary; NaN where there are fewer than two.

    Notes
    -----
    From the variance of the sum of the standardised columns: no matrix of pairs is made.
    """
    varying = returns[:, np.ptp(returns, axis=0) > 0.0]
    n = varying.shape[1]
    if n < 2:
        return math.nan
    standard = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    together = float(standard.sum(axis=1).var())
    return min(1.0, max(-1.0, (together - n) / (n * (n - 1.0))))


def described(figures: dict[str, float]) -> pl.DataFrame:
    """Return the figures with what each says and what it cannot: ``figure``, ``value``, ``says``, ``cannot``."""
    rows = [(name, figures[name], *_WORDS[name]) for name in _WORDS if name in figures]
    schema = {"figure": pl.String, "value": pl.Float64, "says": pl.String, "cannot": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


_WORDS = {
    "trials": (
        "parameter sets tried in this build, in all searches and folds",
        "know of other builds, or of what was tried by eye",
    ),
    "effective_trials": (
        "independent trials that so many correlated ones are worth",
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
        "tell equal skill from none, and has little power",
    ),
    "pbo_p05": ("the same over resampled days, 5th percentile", "be narrow: a few hundred days do not settle it"),
    "pbo_p95": ("the same over resampled days, 95th percentile", "be narrow: a few hundred days do not settle it"),
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
    "mean_correlation": ("between daily returns of two trials", "say why they are alike"),
}
