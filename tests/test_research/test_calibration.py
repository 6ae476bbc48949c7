"""The gate's own rates: what passes of noise and of edges, the simulated studies, and what their power predicts."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest

from pipelines.gate import selection_figures
from pipelines.params import load_params
from research.errors import InvalidInput
from research.validation import Check
from research.validation.calibration import (
    StudyDesign,
    calibrate,
    exact_interval,
    pass_rates,
    predicted_power,
    simulated_study,
    study_figures,
)
from research.validation.overfitting import probability_of_backtest_overfitting

STATISTICAL = ("significance", "deflated_sharpe", "overfitting", "snooping")
SMALL = StudyDesign(days=96, holdout_days=60, trials=16)


def gate_checks():
    checks = load_params().gate.checks
    return [Check(name, checks[name].figure, checks[name].op, checks[name].threshold) for name in STATISTICAL]


def rates_of(design, studies, seed, blocks=8, paths=300):
    def one(generator, number):
        return study_figures(*simulated_study(design, generator), blocks=blocks, paths=paths, seed=number)

    table = pass_rates(calibrate(one, studies, seed=seed), gate_checks(), {"together": STATISTICAL})
    return {row["check"]: row for row in table.iter_rows(named=True)}


def test_the_statistical_checks_together_pass_hardly_any_noise():
    found = rates_of(SMALL, 200, seed=1)
    assert found["together"]["at_most"] <= 0.05
    assert found["deflated_sharpe"]["at_most"] <= 0.05
    low, high = found["significance"]["low"], found["significance"]["high"]  # the hold-out alone: its nominal level
    assert low <= 0.05 <= high
    # Not because nothing passes: an edge that a ratio of 12 cannot hide does, one check after the other.
    edge = rates_of(replace(SMALL, sharpe=12.0), 40, seed=2)
    assert edge["together"]["low"] > 0.15
    assert min(edge[name]["low"] for name in STATISTICAL) > 0.25
    # And a choice that is believed for its own sake passes nearly always.
    alone = [Check("sharpe", "selection.sharpe", ">", 0.0)]
    figures = calibrate(lambda g, k: study_figures(*simulated_study(SMALL, g), blocks=4, paths=1), 50, seed=1)
    assert pass_rates(figures, alone)["rate"][0] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    "design",
    [StudyDesign(), StudyDesign(degrees=4.0), StudyDesign(loadings=(0.8, 0.95), autocorrelation=0.2)],
    ids=["normal", "tails", "autocorrelated"],
)
def test_a_thousand_noise_studies_pass_at_most_one_in_twenty(design):
    found = rates_of(design, 1_000, seed=100, blocks=16, paths=1_000)
    assert found["together"]["at_most"] <= 0.05
    assert found["together"]["at_most"] < found["significance"]["rate"]  # the others add something


@pytest.mark.slow
@pytest.mark.parametrize("value", [2.0, 4.0, 6.0])
def test_edges_pass_as_their_power_predicts(value):
    design = StudyDesign(sharpe=value, days=500, holdout_days=250)  # long enough for the normal approximation
    found, power = rates_of(design, 400, seed=int(value)), predicted_power(design)
    for name in ("significance", "deflated_sharpe"):
        assert found[name]["low"] - 0.02 <= getattr(power, name) <= found[name]["high"] + 0.02
    assert power.snooping <= found["snooping"]["high"]


def test_interval_of_a_share_leaves_out_what_it_says():
    def tail(count, n, share, upwards):
        ks = range(count, n + 1) if upwards else range(count + 1)
        return math.fsum(math.comb(n, k) * share**k * (1.0 - share) ** (n - k) for k in ks)

    for passed, n, level in ((1, 20, 0.95), (7, 30, 0.9), (29, 30, 0.99)):
        low, high = exact_interval(passed, n, level)
        assert tail(passed, n, low, upwards=True) == pytest.approx((1.0 - level) / 2.0, rel=1e-9)
        assert tail(passed, n, high, upwards=False) == pytest.approx((1.0 - level) / 2.0, rel=1e-9)
    assert exact_interval(0, 10)[0] == 0.0
    assert exact_interval(0, 1_000, 0.90)[1] == pytest.approx(1.0 - 0.05 ** (1 / 1_000), rel=1e-12)
    assert exact_interval(10, 10)[1] == 1.0


@pytest.mark.parametrize("degrees", [math.inf, 6.0])
@pytest.mark.parametrize("phi", [0.0, 0.4, -0.5])
def test_simulated_trials_are_as_they_were_asked_for(degrees, phi):
    design = StudyDesign(
        days=150_000, holdout_days=50_000, trials=3, loadings=(0.2, 0.8), sharpe=2.0, degrees=degrees,
        autocorrelation=phi,
    )  # fmt: skip
    study = simulated_study(design, np.random.default_rng(3))
    returns = np.concatenate(study)
    assert study.development.shape == (150_000, 3)
    np.testing.assert_allclose(design.loading, [0.2, 0.5, 0.8], rtol=1e-15)
    np.testing.assert_allclose(np.corrcoef(returns.T)[np.triu_indices(3, 1)], [0.10, 0.16, 0.40], atol=0.015)
    np.testing.assert_allclose(returns.std(axis=0), 0.01, rtol=0.01)
    error = math.sqrt((1 + phi) / (1 - phi) / 200_000 * 365)
    ratios = returns.mean(axis=0) / returns.std(axis=0) * math.sqrt(365)
    np.testing.assert_allclose(ratios, [0.5, 1.25, 2.0], atol=4 * error)
    np.testing.assert_allclose(design.true_sharpes * math.sqrt(365), [0.5, 1.25, 2.0], rtol=1e-12)
    centred = returns - returns.mean(axis=0)
    lagged = (centred[1:] * centred[:-1]).mean(axis=0) / centred.var(axis=0)
    np.testing.assert_allclose(lagged, phi, atol=0.01)
    kurtosis = (centred**4).mean(axis=0) / centred.var(axis=0) ** 2
    if phi == 0.0:
        expected = 3.0 if math.isinf(degrees) else 3.0 + 6.0 / (degrees - 4.0)
        np.testing.assert_allclose(kurtosis, expected, rtol=0.02 if math.isinf(degrees) else 0.2)
    # Tails come on the same days.
    squares = np.corrcoef((centred**2).T)[0, 2]
    assert (squares > 0.1) == math.isfinite(degrees)


@pytest.mark.parametrize(
    "design",
    [
        StudyDesign(sharpe=3.0),
        StudyDesign(sharpe=4.0, loadings=(0.8, 0.95), trials=20),
        StudyDesign(days=400, trials=5, loadings=(0.0, 0.0)),
    ],
)
def test_predicted_power_is_that_of_normal_ratios(design):
    """Draw the ratios themselves, choose, and hold them against thresholds worked out from the draws."""
    rng, draws, n = np.random.default_rng(5), 100_000, design.days
    loading = design.loading
    common = rng.standard_normal((draws, 1))
    error = loading * common + np.sqrt(1.0 - loading**2) * rng.standard_normal((draws, design.trials))
    ratios = design.true_sharpes + error / math.sqrt(n)
    best = ratios.max(axis=1)
    count, euler = design.trials, 0.5772156649015329
    quantile = NormalDist().inv_cdf
    expected = (1 - euler) * quantile(1 - 1 / count) + euler * quantile(1 - 1 / (count * math.e))
    hurdle = ratios.std(axis=1, ddof=1) * expected
    deflated = np.mean((best - hurdle) * np.sqrt((n - 1) / (1 + best**2 / 2)) > quantile(0.95))
    snooping = np.mean(best * math.sqrt(n) > np.quantile(error.max(axis=1), 0.95))
    chosen = design.true_sharpes[ratios.argmax(axis=1)]
    later = chosen + rng.standard_normal(draws) * np.sqrt((1 + chosen**2 / 2) / (design.holdout_days - 1))
    significance = np.mean(later * math.sqrt(design.holdout_days - 1) / np.sqrt(1 + chosen**2 / 2) > quantile(0.95))
    found = predicted_power(design)
    assert found.deflated_sharpe == pytest.approx(deflated, abs=0.02)
    assert found.snooping == pytest.approx(snooping, abs=0.006)
    assert found.significance == pytest.approx(significance, abs=0.006)


def test_predicted_power_of_two_trials_is_in_closed_form():
    design = StudyDesign(trials=2, loadings=(0.0, 0.9), sharpe=3.0)
    normal = NormalDist()
    ratio = 3.0 / math.sqrt(365)  # the other has none, and nothing in common with it
    told = normal.cdf(ratio * math.sqrt(119 / (1 + ratio**2 / 2)) - normal.inv_cdf(0.95))
    better = normal.cdf(ratio * math.sqrt(180 / 2))
    critical = normal.inv_cdf(math.sqrt(0.95))
    one_of_them = 1.0 - math.sqrt(0.95) * normal.cdf(critical - ratio * math.sqrt(180))
    found = predicted_power(design)
    assert found.significance == pytest.approx(better * told + (1.0 - better) * 0.05, abs=1e-7)
    assert found.snooping == pytest.approx(one_of_them, abs=1e-7)


def test_figures_are_those_of_the_pipeline_and_of_the_chosen_trial():
    study = simulated_study(replace(SMALL, sharpe=3.0), np.random.default_rng(8))
    found = study_figures(*study, n_trials=620, blocks=8, paths=200)
    ratios = study.development.mean(axis=0) / study.development.std(axis=0, ddof=1)
    best = int(ratios.argmax())
    theirs = selection_figures(study.development[:, best], ratios, 620)
    assert found["selection.chosen"] == best
    assert found["selection.deflated_sharpe"] == pytest.approx(theirs["selection.deflated_sharpe"], rel=1e-12)
    assert found["selection.sharpe"] == pytest.approx(ratios[best] * math.sqrt(365), rel=1e-12)
    held = study.holdout[:, best]
    assert found["backtest.sharpe"] == pytest.approx(held.mean() / held.std(ddof=1) * math.sqrt(365), rel=1e-12)
    halves = probability_of_backtest_overfitting(study.development, 8)
    assert (found["selection.pbo"], found["selection.loss_probability"]) == (halves.pbo, halves.probability_of_loss)
    assert found["selection.pbo"] != found["selection.loss_probability"]
    fewer = study_figures(*study, blocks=8, paths=200)
    assert fewer["selection.deflated_sharpe"] > found["selection.deflated_sharpe"]
    flat = study_figures(np.zeros((96, 4)), np.zeros((60, 4)), blocks=8, paths=10)
    assert all(math.isnan(value) for value in flat.values())


def test_studies_depend_on_seed_and_number_alone():
    def one(generator, number):
        return {"number": float(number), "drawn": generator.normal()}

    three, five = calibrate(one, 3, seed=4), calibrate(one, 5, seed=4, threads=3)
    assert five.head(3).equals(three)
    assert five["number"].to_list() == [0, 1, 2, 3, 4]
    assert five["drawn"].n_unique() == 5
    assert calibrate(one, 3, seed=5)["drawn"].to_list() != three["drawn"].to_list()


def test_rates_count_alone_and_together_and_unknown_does_not_pass():
    figures = pl.DataFrame({"a": [1.0, 2.0, 3.0, None], "b": [3.0, math.nan, 3.0, 3.0]})
    checks = [Check("a", "a", ">=", 2.0), Check("b", "b", ">=", 3.0)]
    found = pass_rates(figures, checks, {"both": ["a", "b"]})
    assert found["check"].to_list() == ["a", "b", "both"]
    assert found["passed"].to_list() == [2, 3, 1]
    assert found["rate"].to_list() == [0.5, 0.75, 0.25]
    assert found.select("low", "high").row(2) == exact_interval(1, 4, 0.95)
    assert found["at_most"][2] == exact_interval(1, 4, 0.90)[1]


@pytest.mark.parametrize(
    ("make", "subject"),
    [
        (lambda: StudyDesign(days=3), "design.days"),
        (lambda: StudyDesign(trials=1), "design.trials"),
        (lambda: StudyDesign(loadings=(0.9, 0.5)), "design.loadings"),
        (lambda: StudyDesign(loadings=(0.0, 0.0), sharpe=1.0), "design.sharpe"),
        (lambda: StudyDesign(degrees=2.0), "design.degrees"),
        (lambda: StudyDesign(autocorrelation=1.0), "design.autocorrelation"),
        (lambda: calibrate(lambda g, k: {}, 0), "studies"),
        (lambda: calibrate(lambda g, k: {}, 1, threads=0), "threads"),
        (lambda: pass_rates(pl.DataFrame({"a": []}), [Check("a", "a", ">", 0.0)]), "figures"),
        (
            lambda: pass_rates(pl.DataFrame({"a": [1.0]}), [Check("a", "a", ">", 0.0)], {"both": ["a", "z"]}),
            "together.both",
        ),
        (lambda: exact_interval(3, 2), "passed"),
        (lambda: exact_interval(1, 2, 1.0), "level"),
        (lambda: predicted_power(StudyDesign(), confidence=0.5), "confidence"),
        (lambda: predicted_power(StudyDesign(), p_value=0.5), "p_value"),
        (lambda: study_figures(np.zeros((9, 2)), np.zeros((9, 3))), "holdout"),
    ],
)
def test_bad_settings_are_refused(make, subject):
    with pytest.raises(InvalidInput) as error:
        make()
    assert error.value.subject == subject
