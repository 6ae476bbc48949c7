"""Stability over folds: each figure against a plain reading of its definition, the trend against statsmodels."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from research.backtest.plateau import plateau
from research.errors import InvalidInput
from research.validation import walk_forward, walk_forward_folds
from research.validation.efficiency import walk_forward_efficiency
from research.validation.fold_plateaus import fold_plateaus, plateau_share
from research.validation.stability import choices_of, parameter_stability, place_in_range
from research.validation.stability_summary import stability_figures

SPACE = {"length": {"low": 10, "high": 50}, "mode": {"choices": ["long", "both", "short"]}}


def table_of(values, name="length", windows=None):
    columns = {"fold": list(range(len(values))), f"param.{name}": values}
    if windows is not None:
        columns |= {"train_start": [f.train_start for f in windows], "train_stop": [f.train_stop for f in windows]}
    return pl.DataFrame(columns, strict=False)


def one(values, space=SPACE, name="length", windows=None):
    return parameter_stability(table_of(values, name, windows), space).row(0, named=True)


def test_figures_of_a_number_by_hand():
    row = one([10, 30, 30, 50, 20])
    assert (row["param"], row["kind"], row["folds"], row["distinct"]) == ("length", "number", 5, 4)
    assert (row["commonest"], row["commonest_share"], row["changes"]) == ("30", 0.4, 0.75)
    # Places 0, .5, .5, 1, .25: median .5, distances .5, 0, 0, .5, .25; jumps .5, 0, .5, .75.
    assert row["dispersion"] == pytest.approx(0.25, abs=1e-15)
    assert row["jump"] == pytest.approx(1.75 / 4, abs=1e-15)
    assert row["at_bound"] == 0.4
    # Slope (-2*0 - .5 + 0 + 1 + 2*.25) / 10 per fold, four folds long.
    assert row["trend"] == pytest.approx(0.4, abs=1e-15)
    assert math.isnan(row["entropy"])


def test_figures_of_a_category_by_hand():
    row = one(["long", "both", "both", "both"], name="mode")
    assert (row["kind"], row["folds"], row["distinct"]) == ("category", 4, 2)
    assert (row["commonest"], row["commonest_share"], row["changes"]) == ("both", 0.75, 1 / 3)
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(3)
    assert row["entropy"] == pytest.approx(expected, abs=1e-15)
    assert all(math.isnan(row[name]) for name in ("dispersion", "jump", "at_bound", "trend", "p_value"))
    assert one(["long"] * 4, name="mode")["entropy"] == 0.0
    assert one(["long", "both", "short"], name="mode")["entropy"] == pytest.approx(1.0, abs=1e-15)


def test_numbers_with_choices_have_no_order():
    row = one([10, 50, 10], {"length": {"choices": [10, 20, 50]}})
    assert (row["kind"], row["distinct"]) == ("category", 2)
    assert math.isnan(row["trend"])


def test_places_on_a_log_scale():
    row = one([10, 100, 1000], {"length": {"low": 10, "high": 1000, "log": True}})
    assert row["trend"] == pytest.approx(1.0, abs=1e-12)
    assert row["at_bound"] == pytest.approx(2 / 3)
    assert place_in_range("x", np.array([3.0]), {"low": 3.0, "high": 3.0}).tolist() == [0.0]


def test_a_bound_is_one_step_for_steps_and_one_per_cent_for_a_continuum():
    fine = {"length": {"low": 0, "high": 1000}}
    assert one([0, 1, 9, 999, 1000], fine)["at_bound"] == 0.4
    assert one([0.0, 1.0, 9.0, 11.0, 1000.0], {"length": {"low": 0.0, "high": 1000.0}})["at_bound"] == 0.8
    assert math.isnan(one([5, 5], {"length": {"low": 5, "high": 5}})["at_bound"])


def test_without_a_space_only_what_needs_none_is_known():
    row = one([10, 20, 30, 40.0], None)
    assert row["trend"] == 30.0
    assert row["rank_correlation"] == 1.0
    assert row["p_value"] == row["p_value_independent"] == 0.0
    assert all(math.isnan(row[name]) for name in ("dispersion", "jump", "at_bound"))


def test_folds_without_a_choice_are_passed_over():
    with_hole = one([10, None, 30, float("nan"), 50.0])
    assert (with_hole["folds"], with_hole["distinct"]) == (3, 3)
    assert with_hole["trend"] == pytest.approx(1.0, abs=1e-15)  # folds 0, 2, 4 on one line
    empty = one([None, None])
    assert (empty["folds"], empty["commonest"]) == (0, None)
    assert math.isnan(empty["changes"])


def test_fields_of_a_struct_are_parameters():
    rules = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    folds = pl.DataFrame({"fold": [0, 1], "param.rule": rules, "param.c": [1.5, 2.5]})
    assert {name: column.to_list() for name, column in choices_of(folds).items()} == {
        "rule.a": [1, 2], "rule.b": ["x", None], "c": [1.5, 2.5]
    }  # fmt: skip
    assert parameter_stability(folds)["folds"].to_list() == [2, 1, 2]


@given(st.lists(st.integers(10, 50), min_size=4, max_size=30))
@settings(max_examples=60)
def test_trend_is_that_of_least_squares_and_ranks_those_of_scipy(values):
    row = one(values)
    places = (np.array(values) - 10) / 40
    fit = sm.OLS(places, sm.add_constant(np.arange(len(values), dtype=float))).fit()
    assert row["trend"] == pytest.approx(fit.params[1] * (len(values) - 1), abs=1e-9)
    if len(set(values)) == 1:
        assert all(math.isnan(row[name]) for name in ("p_value", "p_value_independent", "rank_correlation"))
        return
    assert row["rank_correlation"] == pytest.approx(spearmanr(np.arange(len(values)), values).statistic, abs=1e-9)
    assert row["p_value_independent"] == pytest.approx(fit.pvalues[1], rel=1e-6, abs=1e-9)
    assert row["p_value"] == row["p_value_independent"]  # no windows told: windows apart
    backwards = one(values[::-1])
    assert backwards["trend"] == pytest.approx(-row["trend"], abs=1e-12)
    assert backwards["dispersion"] == pytest.approx(row["dispersion"], abs=1e-12)
    assert 0.0 <= row["dispersion"] <= 0.5


def test_windows_apart_make_one_test_of_both():
    folds = walk_forward_folds(100, train=10, test=10, step=10)
    row = one([10, 20, 15, 30, 25, 40, 35, 30, 50], windows=folds)
    assert row["p_value"] == row["p_value_independent"]


@pytest.mark.parametrize("anchored", [False, True])
def test_variance_of_the_slope_under_overlap_is_that_of_the_sandwich(anchored):
    """The p-value of overlapping windows against the matrices of the definition, written out."""
    from scipy.stats import t

    folds = walk_forward_folds(365, train=90, test=30, step=7, anchored=anchored)
    y = (np.random.default_rng(4).uniform(10, 50, len(folds)).round() - 10) / 40
    n = len(folds)
    days = [set(range(365)[fold.train]) for fold in folds]
    shared = np.array([[len(a & b) / math.sqrt(len(a) * len(b)) for b in days] for a in days])
    X = np.column_stack([np.ones(n), np.arange(n)])
    bread = np.linalg.inv(X.T @ X)
    M = np.eye(n) - X @ bread @ X.T
    e = M @ y
    sigma2 = e @ e / np.trace(M @ shared)
    variance = (bread @ X.T @ shared @ X @ bread)[1, 1] * sigma2
    degrees = np.trace(M @ shared) ** 2 / np.trace(M @ shared @ M @ shared)
    expected = 2 * t.sf(abs((bread @ X.T @ y)[1]) / math.sqrt(variance), degrees)
    row = one((40 * y + 10).tolist(), windows=folds)
    assert row["p_value"] == pytest.approx(expected, rel=1e-9)


def test_wandering_choices_of_overlapping_windows_are_seldom_called_a_drift():
    """Means over 90 days every 7, no drift: 5 % would be right; taken as independent more than half are a drift."""
    folds = walk_forward_folds(365, train=90, test=30, step=7)
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(150):
        days = rng.normal(size=365)
        rows.append(one([days[fold.train].mean() for fold in folds], None, windows=folds))
    assert np.mean([row["p_value"] < 0.05 for row in rows]) < 0.1
    assert np.mean([row["p_value_independent"] < 0.05 for row in rows]) > 0.5


@pytest.mark.parametrize(
    ("subject", "folds", "space"),
    [
        ("folds", pl.DataFrame({"fold": [], "param.a": []}), None),
        ("folds must have a column", pl.DataFrame({"fold": [0]}), None),
        ("param.length must lie in its space", table_of([9, 20]), SPACE),
        ("space.length", table_of([9, 20]), {"length": {"low": 50, "high": 10}}),
        ("space.length", table_of([9, 20]), {"length": {"low": 0, "high": 10, "log": True}}),
        ("space.length", table_of([9, 20]), {"length": {"low": 0}}),
        ("param.mode must be one of", table_of(["long", "none"], "mode"), SPACE),
    ],
)
def test_bad_input_of_stability_is_refused(subject, folds, space):
    with pytest.raises(InvalidInput, match=subject):
        parameter_stability(folds, space)


def test_efficiency_by_hand():
    found = walk_forward_efficiency([0.2, 0.1, -0.1, 0.3], [0.01, -0.02, 0.02, math.nan], [90] * 4, [9] * 4, False)
    assert found.folds["efficiency"][:2].to_list() == pytest.approx([0.5, -2.0], abs=1e-12)
    # A negative promise has no efficiency, whatever came of it.
    assert found.folds["efficiency"].is_nan().to_list() == [False, False, True, True]
    assert found.folds["in_sample"][0] == pytest.approx(0.2 * 365 / 90, abs=1e-12)
    # Earned .01 - .02 + .02 in 9 days each; promised .2 + .1 - .1 in 90.
    assert found.overall == pytest.approx(0.01 / 0.02, abs=1e-12)
    assert found.median == pytest.approx(-0.75, abs=1e-12)
    assert found.share_kept == 0.5


@given(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=12), st.floats(-1.0, 2.0))
@settings(max_examples=60)
def test_growth_that_keeps_a_share_is_as_efficient_in_any_window(inside, kept):
    """Out of sample grows at ``kept`` times the rate, in windows of other lengths."""
    days = np.arange(1, len(inside) + 1) * 3.0
    outside = np.expm1(kept * np.log1p(inside) * days / 90.0)
    found = walk_forward_efficiency(inside, outside, np.full(len(inside), 90.0), days)
    assert found.folds["efficiency"].to_list() == pytest.approx([kept] * len(inside), abs=1e-9)
    assert found.overall == pytest.approx(kept, abs=1e-9)
    assert found.median == pytest.approx(kept, abs=1e-9)


def test_one_promise_near_zero_does_not_rule_the_overall_figure():
    found = walk_forward_efficiency([1.0, 1e-9, 1.0], [0.5, 0.1, 0.5])
    assert found.folds["efficiency"].max() == pytest.approx(1e8)
    assert found.overall == pytest.approx(0.55, abs=1e-6)


def test_ruin_out_of_sample_is_minus_infinity_and_no_promise_has_no_efficiency():
    ruined = walk_forward_efficiency([0.1, 0.1], [-1.0, 0.1], [90, 90], [7, 7])
    assert ruined.folds["efficiency"][0] == ruined.overall == -math.inf
    assert ruined.share_kept == 0.5
    lost = walk_forward_efficiency([-1.0, -0.2], [-0.1, 0.2])
    assert all(math.isnan(figure) for figure in (lost.overall, lost.median, lost.share_kept))


@pytest.mark.parametrize(
    ("subject", "arguments"),
    [
        ("out_of_sample", ([0.1], [0.1, 0.2])),
        ("out_of_sample", ([], [])),
        ("in_sample_days", ([0.1], [0.1], [90])),
        ("in_sample_days", ([0.1], [0.1], [0], [7])),
        ("out_of_sample_days", ([0.1], [0.1], [90], [7, 7])),
        ("out_of_sample_days", ([0.1], [0.1], [90], [math.inf])),
        ("in_sample must be at least -1", ([-1.5], [0.1], [90], [7])),
    ],
)
def test_bad_input_of_efficiency_is_refused(subject, arguments):
    with pytest.raises(InvalidInput, match=subject):
        walk_forward_efficiency(*arguments)


def grid_trials():
    """Fold 0 a hill, fold 1 a spike in a plain, both on a grid of 7 by 5."""
    rows = []
    for fold, (a, b) in itertools.product((0, 1), itertools.product(range(7), range(5))):
        hill = 1.0 - 0.02 * ((a - 3) ** 2 + (b - 2) ** 2)
        spike = 1.0 if (a, b) == (3, 2) else 0.01 * ((7 * a + 3 * b) % 5)
        rows.append((fold, 10 * a, 5 * b, hill if fold == 0 else spike))
    return pl.DataFrame(rows, schema=["fold", "param.a", "param.b", "value"], orient="row")


def test_verdicts_on_a_grid_are_those_of_the_sweep():
    trials = grid_trials()
    judged = fold_plateaus(trials.sample(fraction=1.0, shuffle=True, seed=1))
    assert judged["fold"].to_list() == [0, 1]
    for fold, row in enumerate(judged.iter_rows(named=True)):
        alone = plateau(trials.filter(pl.col("fold") == fold).drop("fold"), ["param.a", "param.b"], "value")
        assert (row["verdict"], row["share_within"], row["robustness"]) == (
            alone.verdict, alone.share_within, alone.robustness
        )  # fmt: skip
        assert row["neighbours"] == 4
    assert judged["verdict"].to_list() == ["plateau", "peak"]
    assert judged["on_plateau"].to_list() == [True, False]
    assert plateau_share(judged) == 0.5


def random_trials(worth, n=300, seed=2):
    rng = np.random.default_rng(seed)
    a, b, kind = rng.uniform(0, 1, n), rng.uniform(0, 1, n), rng.choice(["x", "y"], n)
    return pl.DataFrame({"fold": [4] * n, "param.a": a, "param.b": b, "param.kind": kind, "value": worth(a, b)})


UNIT = {"a": {"low": 0.0, "high": 1.0}, "param.b": {"low": 0.0, "high": 1.0}}


def test_trials_at_random_are_judged_by_those_near():
    trials = random_trials(lambda a, b: 1.0 - (a - 0.5) ** 2 - (b - 0.5) ** 2)
    row = fold_plateaus(trials, UNIT, radius=0.15, tolerance=0.1).row(0, named=True)
    value = trials["value"].to_numpy()
    best = int(value.argmax())
    near = [
        i for i in range(300)
        if i != best and trials["param.kind"][i] == trials["param.kind"][best]
        and all(abs(trials[p][i] - trials[p][best]) <= 0.15 for p in ("param.a", "param.b"))
    ]  # fmt: skip
    floor = value[best] - 0.1 * (np.quantile(value, 0.95) - np.quantile(value, 0.05))
    assert (row["fold"], row["verdict"], row["near"]) == (4, "unknown", len(near))
    assert row["near_within"] == np.mean(value[near] >= floor)
    assert row["on_plateau"] is True


def test_the_best_of_noise_stands_on_no_plateau():
    noise = np.random.default_rng(6).normal(size=300)
    row = fold_plateaus(random_trials(lambda a, b: noise), UNIT, radius=0.2).row(0, named=True)
    assert row["near"] >= 3
    assert row["on_plateau"] is False


def test_failed_and_stopped_trials_are_near_and_not_as_good():
    trials = pl.DataFrame({
        "fold": [0] * 5, "state": ["complete", "complete", "failed", "pruned", "complete"],
        "param.a": [0.5, 0.51, 0.52, 0.53, 0.54], "value": [1.0, 1.0, math.nan, 9.0, 1.0],
    })  # fmt: skip
    row = fold_plateaus(trials, UNIT).row(0, named=True)
    assert (row["value"], row["near"], row["near_within"]) == (1.0, 4, 0.5)


def test_a_repeated_trial_is_one_and_a_fold_without_values_unknown():
    values = [math.nan, 1.0, 0.5, 1.0, math.nan]
    trials = pl.DataFrame({"fold": [0] * 4 + [1], "param.a": [0.5, 0.5, 0.5, 0.9, 0.1], "value": values})
    judged = fold_plateaus(trials, UNIT)
    assert judged["value"][0] == 1.0
    assert judged["near"].to_list() == [0, 0]
    assert judged["verdict"].to_list() == ["unknown"] * 2
    assert judged["on_plateau"].to_list() == [None, None]
    assert math.isnan(plateau_share(judged))


def test_trials_of_other_strategies_are_not_compared():
    """Another candidate's trials lie at the same place, and are worthless; a third has other parameters."""
    near = pl.DataFrame({"fold": 0, "candidate": "hill", "param.a": [0.5, 0.52, 0.54, 0.48], "value": [1.0] * 4})
    other = near.with_columns(candidate=pl.lit("flat"), value=pl.lit(0.0))
    third = pl.DataFrame({"fold": 0, "candidate": "third", "param.z": [1.0, 2.0], "value": [0.5, 0.4]})
    trials = pl.concat([third, other, near], how="diagonal")
    row = fold_plateaus(trials, UNIT, within=["candidate"]).row(0, named=True)
    assert (row["near"], row["near_within"], row["on_plateau"]) == (3, 1.0, True)


def test_trials_with_a_parameter_more_are_another_strategy():
    hill = pl.DataFrame({"fold": 0, "param.a": [0.5, 0.52, 0.54, 0.48], "value": [1.0] * 4})
    more = hill.with_columns((pl.col("param.a") + 0.005), pl.lit(1.0).alias("param.z"), value=pl.lit(0.0))
    row = fold_plateaus(pl.concat([more, hill], how="diagonal"), UNIT).row(0, named=True)
    assert (row["near"], row["near_within"]) == (3, 1.0)


def test_repetitions_that_were_stopped_early_or_did_worse_change_nothing():
    trials = grid_trials().with_columns(state=pl.lit("complete"))
    stopped = trials.with_columns(state=pl.lit("pruned"), value=pl.lit(5.0))
    worse = trials.with_columns(value=pl.col("value") - 0.5)
    assert fold_plateaus(pl.concat([stopped, worse, trials])).equals(fold_plateaus(trials), null_equal=True)


@pytest.mark.parametrize(
    ("subject", "change"),
    [
        ("trials", {"trials": pl.DataFrame({"fold": [], "param.a": [], "value": []})}),
        ("trials", {"trials": pl.DataFrame({"fold": [0], "value": [1.0]})}),
        ("metric", {"metric": "sharpe"}),
        ("within", {"within": ["candidate"]}),
        ("radius", {"radius": 0.0}),
        ("tolerance", {"tolerance": -0.1}),
    ],
)
def test_bad_input_of_plateaus_is_refused(subject, change):
    with pytest.raises(InvalidInput, match=subject):
        fold_plateaus(**({"trials": grid_trials()} | change))


def test_less_is_better_where_the_metric_says_so():
    trials = grid_trials().with_columns(volatility=2.0 - pl.col("value"))
    judged = fold_plateaus(trials, metric="volatility")
    assert judged["value"].to_list() == [1.0, 1.0]
    assert judged["on_plateau"].to_list() == [True, False]


def test_the_result_of_a_walk_forward_is_read_as_it_is():
    """Two candidates with other parameters, handed over as one struct each: what a fold did not choose is null."""
    folds = walk_forward_folds(60, train=20, test=10)

    def choose(fold):
        if fold.index == 2:
            return {"candidate": "band", "params": {"width": 2.0}}, None
        return {"candidate": "cross", "params": {"fast": 5 + fold.index, "slow": 50}}, None

    def evaluate(choice, fold):
        return pl.DataFrame({"ts": np.arange(fold.test_start, fold.test_stop)})

    found = parameter_stability(walk_forward(folds, choose, evaluate).folds, {"params.fast": {"low": 5, "high": 25}})
    assert dict(zip(found["param"], found["folds"], strict=True)) == {
        "candidate": 4, "params.fast": 3, "params.slow": 3, "params.width": 1
    }  # fmt: skip
    assert found.filter(pl.col("param") == "params.fast")["trend"][0] == pytest.approx(3 / 20, abs=1e-12)


def test_summary_takes_the_worst_parameter_and_corrects_for_how_many_there_are():
    folds = pl.DataFrame({
        "fold": range(8), "param.a": [10, 14, 18, 30, 28, 40, 42, 50], "param.b": [1.0, 5, 2, 4, 3, 1, 5, 2],
        "param.mode": ["long"] * 8,
    })  # fmt: skip
    found = parameter_stability(folds, {"a": {"low": 10, "high": 50}, "b": {"low": 1.0, "high": 5.0}})
    figures = stability_figures(found, walk_forward_efficiency([1.0, 1.0], [0.5, -0.1]), fold_plateaus(grid_trials()))
    assert figures["dispersion"] == max(found["dispersion"][:2])
    assert figures["at_bound"] == max(found["at_bound"][:2]) == 0.5
    assert figures["drift_p_value"] == 2 * found["p_value"][0] < 0.001
    assert (figures["efficiency"], figures["efficiency_median"], figures["share_kept"]) == (0.2, 0.2, 0.5)
    assert (figures["share_on_plateau"], figures["share_plateau_known"]) == (0.5, 1.0)
    alone = stability_figures(found.filter(pl.col("param") == "mode"))
    assert all(math.isnan(figure) for figure in alone.values())
