"""How often a gate passes what has no skill, and what has: its rates over simulated studies. It sets no threshold.

A study is what a search leaves behind: daily returns of every trial, the best of them on the development days, and what
that one does on a hold-out. :func:`calibrate` takes any function that makes one, such as a market that is drawn and
swept; :func:`simulated_study` draws the returns themselves, of trials that share one bet, for which
:func:`predicted_power` knows what the checks ought to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.metrics.inference import expected_maximum_sharpe, probabilistic_sharpe_ratio, sharpe_moments
from research.metrics.returns import DAYS_PER_YEAR
from research.metrics.sharpe_tests import deflated_sharpe_ratios, trial_moments
from research.validation.gate import Check, evaluate_gate
from research.validation.overfitting import probability_of_backtest_overfitting
from research.validation.snooping import superior_predictive_ability

DAILY_DEVIATION = 0.01  # of every simulated trial: ratios do not depend on it
_NORMAL = NormalDist()
_FORGOTTEN = 1e-12  # what is left of an autoregression's start before the first day that is kept


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """Trials that follow one bet, each more or less closely, and have its edge in the same share.

    Parameters
    ----------
    days, holdout_days : int
        Of development and of the hold-out after it.
    trials : int
        At least 2.
    loadings : (float, float)
        Correlation with the bet of the least and of the closest trial, in [0, 1], spaced evenly between: two trials
        correlate by the product of theirs. The default is a wide search; a tight one has (0.8, 0.95).
    sharpe : float
        True annualised Sharpe ratio of the closest trial, which is the best one; 0 is noise.
    degrees : float
        Degrees of freedom of Student's t, above 2, tails of all trials on the same days; infinite for normal returns.
    autocorrelation : float
        Of every trial's returns, from one day to the next, in (-1, 1); their deviation stays.

    Raises
    ------
    InvalidInput
        If a setting lies outside its range.
    """

    days: int = 180
    holdout_days: int = 120
    trials: int = 60
    loadings: tuple[float, float] = (0.0, 0.9)
    sharpe: float = 0.0
    degrees: float = math.inf
    autocorrelation: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("days", 4), ("holdout_days", 4), ("trials", 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InvalidInput(f"design.{name}", f"must be a whole number of at least {least}", value)
        low, high = self.loadings
        if not 0.0 <= low <= high <= 1.0:
            raise InvalidInput("design.loadings", "must lie in [0, 1], the first not above the second", self.loadings)
        if not math.isfinite(self.sharpe) or (self.sharpe != 0.0 and high == 0.0):
            raise InvalidInput("design.sharpe", "must be finite, and 0 where no trial follows the bet", self.sharpe)
        if not self.degrees > 2.0:
            raise InvalidInput("design.degrees", "must be above 2, or infinite: the variance must exist", self.degrees)
        if not -1.0 < self.autocorrelation < 1.0:
            raise InvalidInput("design.autocorrelation", "must lie in (-1, 1)", self.autocorrelation)

    @property
    def loading(self) -> FloatArray:
        """Correlation of every trial with the bet, shape (trials,)."""
        return np.linspace(*self.loadings, self.trials)

    @property
    def true_sharpes(self) -> FloatArray:
        """True Sharpe ratio of every trial per day, shape (trials,)."""
        if self.sharpe == 0.0:
            return np.zeros(self.trials)
        return self.sharpe / math.sqrt(DAYS_PER_YEAR) * self.loading / self.loadings[1]


class SimulatedStudy(NamedTuple):
    """Daily returns of all trials, shapes (days, trials) and (holdout_days, trials)."""

    development: FloatArray
    holdout: FloatArray


def simulated_study(design: StudyDesign, generator: np.random.Generator) -> SimulatedStudy:
    """Return the daily returns of one study, development and hold-out following each other.

    Parameters
    ----------
    design : StudyDesign
    generator : numpy.random.Generator
        Drawn from.

    Examples
    --------
    >>> study = simulated_study(StudyDesign(days=90, trials=5, sharpe=2.0), np.random.default_rng(1))
    >>> study.development.shape, study.holdout.shape
    ((90, 5), (120, 5))
    """
    phi = design.autocorrelation
    before = 0 if phi == 0.0 else math.ceil(math.log(_FORGOTTEN) / math.log(abs(phi)))
    n = before + design.days + design.holdout_days
    bet, own = generator.standard_normal((n, 1)), generator.standard_normal((n, design.trials))
    loading = design.loading
    drawn = loading * bet + np.sqrt(1.0 - loading * loading) * own
    if math.isfinite(design.degrees):
        drawn *= np.sqrt((design.degrees - 2.0) / generator.chisquare(design.degrees, (n, 1)))
    if phi != 0.0:
        drawn *= math.sqrt(1.0 - phi * phi)
        for day in range(1, n):
            drawn[day] += phi * drawn[day - 1]
    returns = DAILY_DEVIATION * (drawn[before:] + design.true_sharpes)
    return SimulatedStudy(returns[: design.days], returns[design.days :])


def study_figures(
    development: FloatArray, holdout: FloatArray, *, n_trials: int | None = None, blocks: int = 16,
    paths: int = 2_000, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Return what a gate asks of a study, under the gate's names: the selection, and the chosen trial afterwards.

    Parameters
    ----------
    development, holdout : (n_days, n_trials) array
        Daily returns of every trial, the same columns in both.
    n_trials : int, optional
        Trials that deflate the best one's ratio; those of ``development`` if it is not given.
    blocks, paths, seed
        As :func:`research.validation.selection.snooping_figures` takes them.

    Returns
    -------
    dict of str to float
        ``selection.chosen`` (column with the largest ratio on the development days), ``.sharpe``, ``.deflated_sharpe``,
        ``.pbo``, ``.loss_probability``, ``.spa_p``, and of the chosen one's hold-out ``backtest.sharpe``,
        ``.probabilistic_sharpe``. Ratios are annualised. NaN throughout where no trial varies.

    Raises
    ------
    InvalidInput
        If shapes do not fit or a value is not finite.
    """
    if development.ndim != 2 or holdout.ndim != 2 or development.shape[1] != holdout.shape[1]:
        raise InvalidInput("holdout", f"must have the trials of development, {development.shape}", holdout.shape)
    names = ("chosen", "sharpe", "deflated_sharpe", "pbo", "loss_probability", "spa_p")
    found = {f"selection.{name}": math.nan for name in names}
    found |= {"backtest.sharpe": math.nan, "backtest.probabilistic_sharpe": math.nan}
    before = trial_moments(development)
    if np.count_nonzero(np.isfinite(before.sharpe)) < 2:
        return found
    chosen = int(np.nanargmax(before.sharpe))
    after = sharpe_moments(holdout[:, chosen])
    halves = probability_of_backtest_overfitting(development, blocks)
    return {
        "selection.chosen": float(chosen),
        "selection.sharpe": float(before.sharpe[chosen]) * math.sqrt(DAYS_PER_YEAR),
        "selection.deflated_sharpe": float(deflated_sharpe_ratios(before, n_trials)[chosen]),
        "selection.pbo": halves.pbo,
        "selection.loss_probability": halves.probability_of_loss,
        "selection.spa_p": superior_predictive_ability(development, paths=paths, seed=seed).consistent,
        "backtest.sharpe": after.sharpe * math.sqrt(DAYS_PER_YEAR),
        "backtest.probabilistic_sharpe": probabilistic_sharpe_ratio(
            after.sharpe, after.n_obs, after.skew, after.kurtosis
        ),
    }


def calibrate(
    study: Callable[[np.random.Generator, int], Mapping[str, float]], studies: int, *, seed: int = 0, threads: int = 1
) -> pl.DataFrame:
    """Make many studies and return the figures of each.

    Parameters
    ----------
    study : callable
        ``study(generator, number) -> figures``: draws one study, chooses in it and returns what the gate reads. It must
        depend on its arguments alone, and give the same names each time.
    studies : int
        At least 1.
    seed : int
        Study number k is drawn from the k-th stream of it, whatever the threads.
    threads : int
        Studies at a time.

    Returns
    -------
    DataFrame
        One row per study, one column per figure.

    Raises
    ------
    InvalidInput
        If ``studies`` or ``threads`` is below 1.

    Examples
    --------
    >>> design = StudyDesign(days=64, holdout_days=30, trials=4)
    >>> found = calibrate(
    ...     lambda g, k: study_figures(*simulated_study(design, g), blocks=8, paths=200, seed=k), studies=20, seed=1
    ... )
    >>> pass_rates(found, [Check("selection", "selection.deflated_sharpe", ">=", 0.95)]).row(0)[:3]
    ('selection', 20, 0)
    """
    for name, value in (("studies", studies), ("threads", threads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(name, "must be a whole number of at least 1", value)
    streams = np.random.SeedSequence(seed).spawn(studies)

    def one(number: int) -> dict[str, float]:
        return dict(study(np.random.default_rng(streams[number]), number))

    with ThreadPoolExecutor(threads) as pool:
        return pl.DataFrame(list(pool.map(one, range(studies))), infer_schema_length=None)


def pass_rates(
    figures: pl.DataFrame, checks: Sequence[Check], together: Mapping[str, Sequence[str]] | None = None,
    level: float = 0.95,
) -> pl.DataFrame:  # fmt: skip
    """Hold every study against the gate and count what passes.

    Parameters
    ----------
    figures : DataFrame
        One row per study, from :func:`calibrate`.
    checks : sequence of Check
        The gate, or part of it.
    together : mapping of str to sequence of str, optional
        Names of checks that are to be met at once, by what they are called together.
    level : float
        Of the interval, in (0.5, 1).

    Returns
    -------
    DataFrame
        ``check`` (each one alone, then those together), ``studies``, ``passed``, ``rate``, its exact interval ``low``
        to ``high``, and ``at_most``: the one-sided bound of that level.

    Raises
    ------
    InvalidInput
        If there are no studies, or a check that is named in ``together`` is unknown.
    """
    if figures.is_empty():
        raise InvalidInput("figures", "must have at least one study", 0)
    met = np.array([evaluate_gate(row, checks).table["passed"].to_list() for row in figures.iter_rows(named=True)])
    names = [check.name for check in checks]
    columns = dict(zip(names, met.T, strict=True))
    for told, group in (together or {}).items():
        unknown = sorted(set(group) - set(names))
        if unknown or not group:
            raise InvalidInput(f"together.{told}", f"must name checks ({', '.join(names)})", unknown)
        columns[told] = np.all([columns[name] for name in group], axis=0)
    rows = []
    for told, passed in columns.items():
        count = int(passed.sum())
        low, high = exact_interval(count, passed.size, level)
        at_most = exact_interval(count, passed.size, 2.0 * level - 1.0)[1]
        rows.append((told, passed.size, count, count / passed.size, low, high, at_most))
    columns_of = ("check", "studies", "passed", "rate", "low", "high", "at_most")
    return pl.DataFrame(rows, schema=columns_of, orient="row")


def exact_interval(passed: int, studies: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share, half of what it leaves out on either side.

    Parameters
    ----------
    passed, studies : int
        ``0 <= passed <= studies``, at least one study.
    level : float
        Coverage, in (0, 1): never less than that, and more where counts are small.

    Raises
    ------
    InvalidInput
        If a number lies outside its range.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
       binomial", Biometrika 26(4), 1934.

    Examples
    --------
    >>> low, high = exact_interval(0, 1_000, 0.90)  # none of a thousand: the rule of three
    >>> low, round(high, 4)
    (0.0, 0.003)
    """
    from scipy.stats import beta

    if not 0 <= passed <= studies or studies < 1:
        raise InvalidInput("passed", f"must lie within the {studies} studies", passed)
    if not 0.0 < level < 1.0:
        raise InvalidInput("level", "must lie in (0, 1)", level)
    out = (1.0 - level) / 2.0
    low = 0.0 if passed == 0 else float(beta.ppf(out, passed, studies - passed + 1))
    high = 1.0 if passed == studies else float(beta.ppf(1.0 - out, passed + 1, studies - passed))
    return low, high


class PredictedPower(NamedTuple):
    """Share of studies that ought to pass.

    Parameters
    ----------
    deflated_sharpe : float
        The largest of all ratios beats the best expected of as many skilless ones, and its own error.
    snooping : float
        The largest studentised mean beats what chance exceeds in a share ``p_value`` of studies.
    significance : float
        The chosen trial, whichever it is, has a hold-out that is told from zero.
    """

    deflated_sharpe: float
    snooping: float
    significance: float


def predicted_power(
    design: StudyDesign, *, n_trials: int | None = None, confidence: float = 0.95, p_value: float = 0.05
) -> PredictedPower:
    r"""Return how often a design's studies ought to pass three checks, by the normal approximation.

    Parameters
    ----------
    design : StudyDesign
        Its tails and its autocorrelation are not looked at: what they change is what a calibration is to show.
    n_trials : int, optional
        As :func:`study_figures` takes it.
    confidence : float
        Threshold of the deflated and of the probabilistic Sharpe ratio, in (0.5, 1).
    p_value : float
        Threshold of SPA, in (0, 0.5).

    Returns
    -------
    PredictedPower

    Raises
    ------
    InvalidInput
        If a threshold lies outside its range.

    Notes
    -----
    Ratios of n days are normal with deviation :math:`1/\sqrt n`, and given what the bet did they are independent: the
    largest stays below c with probability :math:`\int \prod_k \Phi((c - m_k - l_k z) / \sqrt{1 - l_k^2})\,
    d\Phi(z)` for loadings l and true ratios m, both in deviations. The hurdle of the deflated ratio takes the expected
    variance across trials, given z. Which trial is chosen is integrated over in the same way. There is no such formula
    for PBO.

    Examples
    --------
    >>> power = predicted_power(StudyDesign(sharpe=4.0))
    >>> [round(p, 2) for p in power]
    [0.03, 0.78, 0.54]
    >>> round(predicted_power(StudyDesign(sharpe=0.0)).snooping, 3)
    0.05
    """
    if not 0.5 < confidence < 1.0:
        raise InvalidInput("confidence", "must lie in (0.5, 1)", confidence)
    if not 0.0 < p_value < 0.5:
        raise InvalidInput("p_value", "must lie in (0, 0.5)", p_value)
    bet, weight = _normal_grid()
    root, quantile = math.sqrt(design.days), _NORMAL.inv_cdf(confidence)
    loading, own = design.loading, np.sqrt(np.maximum(1.0 - design.loading**2, 1e-12))
    mean = root * design.true_sharpes + loading * bet[:, None]  # given the bet, in deviations of a ratio: (z, trials)
    # The hurdle: expected spread across trials given the bet, and the error of a ratio of that height.
    count = design.trials if n_trials is None else n_trials
    variance = mean.var(axis=1, ddof=1) + float(np.mean(own**2))
    hurdle = np.sqrt(variance) * expected_maximum_sharpe(count)
    needed = hurdle + quantile * np.sqrt(1.0 + 0.5 * ((hurdle + quantile) / root) ** 2)
    deflated = 1.0 - weight @ _below(needed, mean, own)
    critical = _critical(loading, own, p_value)
    snooping = 1.0 - weight @ _below(np.full(bet.size, critical), mean, own)
    ahead = design.true_sharpes * math.sqrt(design.holdout_days - 1.0)
    ahead = ahead / np.sqrt(1.0 + 0.5 * design.true_sharpes**2)
    told = np.array([_NORMAL.cdf(float(a) - quantile) for a in ahead])
    return PredictedPower(float(deflated), float(snooping), float(_chosen(mean, own, weight) @ told))


def _normal_grid(points: int = 61, reach: float = 6.0) -> tuple[FloatArray, FloatArray]:
    """Return points and weights of a standard normal: the trapezoidal rule, exact to 1e-8 for what is smooth."""
    at = np.linspace(-reach, reach, points)
    weight = np.exp(-0.5 * at * at)
    return at, weight / weight.sum()


def _phi(values: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return ndtr(values)


def _below(level: FloatArray, mean: FloatArray, own: FloatArray) -> FloatArray:
    """Return the probability, given the bet, that no ratio exceeds a level."""
    return np.prod(_phi((level[:, None] - mean) / own), axis=1)


def _critical(loading: FloatArray, own: FloatArray, p_value: float) -> float:
    """Return what the largest of skilless ratios exceeds with a probability, by halving."""
    bet, weight = _normal_grid()
    low, high = -1.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2.0
        exceeds = 1.0 - weight @ _below(np.full(bet.size, middle), loading * bet[:, None], own)
        low, high = (middle, high) if exceeds > p_value else (low, middle)
    return (low + high) / 2.0


def _chosen(mean: FloatArray, own: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the probability that each trial's ratio is the largest."""
    at, density = _normal_grid(61)
    found = np.zeros(own.size)
    for given, share in zip(mean, weight, strict=True):
        for k in range(own.size):
            others = _phi((given[k] + own[k] * at[:, None] - given) / own)
            others[:, k] = 1.0
            found[k] += share * float(density @ np.prod(others, axis=1))
    return found / found.sum()
