"""Searches: spaces, repeatability, failed and pruned trials, and no trace left in global state."""

import logging
import math
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import optuna
import pytest

from research.errors import InvalidInput
from research.search import Space, evolve, optimise
from research.search.evolve import _breed, _toolbox

SPACE = {
    "enter": {"low": 0.1, "high": 10.0, "log": True},
    "length": {"low": 5, "high": 50},
    "factor": {"low": 1.0, "high": 4.0, "step": 0.5},
    "slow": {"low": 20, "high": 200, "step": 20},
    "span": {"low": 1, "high": 1000, "log": True},
    "side": {"choices": ["long", "short", "both"]},
}


def objective(params):
    value = -abs(math.log(params["enter"])) - abs(params["length"] - 21) / 10 - abs(params["factor"] - 2.5)
    return value - (params["side"] != "both"), {"sharpe_day": value / 10}


def search(kind, seed=3, target=objective, space=SPACE, **more):
    if kind == "evolve":
        return evolve(target, space, generations=6, population=10, seed=seed, **more)
    return optimise(target, space, trials=40, seed=seed, sampler=kind, **more)


KINDS = ["tpe", "random", "evolve"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_trials(kind):
    one, two = search(kind), search(kind)
    assert one.trials.equals(two.trials)
    assert one.best_params == two.best_params
    assert not one.trials["value"].equals(search(kind, seed=4).trials["value"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_trial_is_kept_and_the_best_is_the_best_of_them(kind):
    calls = []

    def counted(params):
        calls.append(params)
        return objective(params)

    found = search(kind, target=counted)
    assert found.n_trials == len(calls) == found.trials.height
    assert found.trials["trial"].to_list() == list(range(len(calls)))
    for name in SPACE:
        assert found.trials[f"param.{name}"].to_list() == [c[name] for c in calls]
    assert found.trials["value"].to_list() == [objective(c)[0] for c in calls]
    assert found.trials["sharpe_day"].to_list() == [objective(c)[1]["sharpe_day"] for c in calls]
    assert found.best_value == found.trials["value"].max()
    assert objective(found.best_params)[0] == found.best_value
    assert set(found.trials["state"]) == {"complete"}


@pytest.mark.parametrize("kind", KINDS)
def test_values_lie_in_the_space_with_its_types(kind):
    trials = search(kind).trials
    assert trials["param.enter"].is_between(0.1, 10.0).all()
    assert trials["param.length"].dtype.is_integer()
    assert set(trials["param.length"]) <= set(range(5, 51))
    assert set(trials["param.factor"]) <= {1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0}
    assert set(trials["param.slow"]) <= set(range(20, 201, 20))
    assert set(trials["param.span"]) <= set(range(1, 1001))
    assert set(trials["param.side"]) <= {"long", "short", "both"}


@pytest.mark.parametrize("kind", ["tpe", "evolve"])
def test_searching_beats_drawing(kind):
    drawn = [search("random", seed=s).best_value for s in range(6)]
    found = [search(kind, seed=s).best_value for s in range(6)]
    assert np.mean(found) > np.mean(drawn)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_value_that_is_not_finite_fails_and_is_never_best(kind, direction):
    def sometimes(params):
        bad = {1: math.nan, 2: math.inf, 3: -math.inf}
        return bad.get(params["x"] % 4, float(params["x"])), {"extra": 1.0}

    found = search(kind, target=sometimes, space={"x": {"low": 0, "high": 40}}, direction=direction)
    failed = found.trials.filter(state="failed")
    assert 0 < failed.height < found.n_trials
    assert failed["value"].is_nan().all()
    assert (failed["param.x"] % 4 != 0).all()
    complete = found.trials.filter(state="complete")
    assert (complete["param.x"] % 4 == 0).all()
    assert found.best_value == (complete["value"].max() if direction == "maximize" else complete["value"].min())


@pytest.mark.parametrize("kind", KINDS)
def test_where_every_trial_fails_there_is_no_best(kind):
    found = search(kind, target=lambda params: math.nan)
    assert found.best_params == {}
    assert math.isnan(found.best_value)
    assert set(found.trials["state"]) == {"failed"}


def test_the_sampler_leaves_where_trials_fail():
    def walled(params):
        x, y = params["x"], params["y"]
        return math.nan if x > 0.8 else -abs(x - 0.78) - abs(y - 0.3)

    space = {"x": {"low": 0.0, "high": 1.0}, "y": {"low": 0.0, "high": 1.0}}
    found = optimise(walled, space, trials=120, seed=1)
    # The optimum touches the wall, so that some trials go on failing; told as forgotten, 95 of 100 did.
    assert (found.trials["state"][20:] == "failed").mean() < 0.6
    assert found.best_value > -0.02


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_of_the_objective_is_not_swallowed(kind):
    def broken(params):
        raise KeyError("close")

    with pytest.raises(KeyError, match="close"):
        search(kind, target=broken)


@pytest.mark.parametrize("kind", KINDS)
def test_global_random_states_and_verbosity_are_untouched(kind):
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tobytes(), optuna.logging.get_verbosity()  # noqa: NPY002
    search(kind)
    after = random.getstate(), np.random.get_state()[1].tobytes(), optuna.logging.get_verbosity()  # noqa: NPY002
    assert after == before


def test_evolve_puts_the_random_state_back_before_the_objective_and_after_an_exception():
    random.seed(5)
    before = random.getstate()
    seen = []

    def looks(params):
        seen.append(random.getstate() == before)
        if len(seen) > 30:
            raise KeyError("stop")
        return params["x"]

    with pytest.raises(KeyError):
        evolve(looks, {"x": {"low": 0.0, "high": 1.0}}, generations=9, population=10, seed=1)
    assert all(seen)
    assert random.getstate() == before


def test_evolve_does_not_depend_on_the_random_state_or_on_other_threads():
    alone = [search("evolve", seed=s).trials for s in range(4)]
    random.seed(1234)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda s: search("evolve", seed=s).trials, range(4)))
    assert all(a.equals(b) for a, b in zip(alone, together, strict=True))


def test_each_generation_holds_the_best_of_the_one_before_it():
    toolbox = _toolbox(3, "maximize")
    random.seed(1)
    people = [toolbox.individual() for _ in range(9)]
    for number, individual in enumerate(people):
        individual.fitness.values = (float(number % 7),)
    for _ in range(20):
        children = _breed(people, toolbox)
        assert len(children) == 9
        assert list(children[0]) == list(people[6])
        assert children[0].fitness.values == (6.0,)
        assert all(0.0 <= gene <= 1.0 for child in children for gene in child)
        changed = [child for child in children if list(child) not in [list(p) for p in people]]
        assert not any(child.fitness.valid for child in changed)  # what was changed is evaluated again


@pytest.mark.parametrize("kind", ["tpe", "evolve"])
def test_minimising_finds_what_maximising_the_negative_finds(kind):
    down = search(kind, target=lambda p: -objective(p)[0], direction="minimize")
    up = search(kind, target=lambda p: objective(p)[0])
    assert down.best_value == -up.best_value
    assert down.best_params == up.best_params


def test_generations_are_told_apart():
    trials = search("evolve").trials
    assert trials.filter(generation=0).height == 10
    assert trials["generation"].is_sorted()
    assert set(trials["generation"]) == set(range(7))


def test_no_announcement_is_logged():
    call = "optimise(lambda p: p['x'], {'x': {'low': 0, 'high': 9}}, trials=3, seed=1)"
    code = f"from research.search import optimise; {call}"
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout + ran.stderr == ""
    assert logging.getLogger("optuna").level == logging.INFO


def test_importing_the_face_imports_neither_library():
    code = "import research.search, sys; print([m for m in ('optuna', 'deap', 'pandas') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


NOISE = np.random.default_rng(0).normal(0, 1, 12)
ONE_AXIS = {"x": {"low": 0.0, "high": 1.0}}


def over_folds(params, fold):
    wobble = 0.3 * math.sin(1e6 * params["x"] + fold)
    return 1.0 - 3 * (params["x"] - 0.3) ** 2 + NOISE[fold] + wobble, {"fold_sum": float(fold)}


def test_the_value_of_a_complete_trial_is_the_mean_over_folds():
    found = optimise(over_folds, ONE_AXIS, trials=40, seed=1, folds=range(12))
    for row in found.trials.filter(state="complete").iter_rows(named=True):
        x = {"x": row["param.x"]}
        assert row["value"] == pytest.approx(np.mean([over_folds(x, f)[0] for f in range(12)]), rel=1e-12)
        assert row["folds"] == 12
        assert row["fold_sum"] == 5.5


def test_hopeless_trials_stop_early_and_are_never_best():
    found = optimise(over_folds, ONE_AXIS, trials=60, seed=1, folds=range(12))
    pruned = found.trials.filter(state="pruned")
    assert pruned.height > 5
    assert pruned["folds"].is_between(4, 11).all()
    assert found.trials["folds"].sum() < 0.9 * 60 * 12
    assert found.best_value == found.trials.filter(state="complete")["value"].max()
    assert abs(found.best_params["x"] - 0.3) < 0.15


def test_minimising_the_negative_is_maximising():
    def negative(params, fold):
        value, extras = over_folds(params, fold)
        return -value, extras

    up = optimise(over_folds, ONE_AXIS, trials=40, seed=1, folds=range(12))
    down = optimise(negative, ONE_AXIS, trials=40, seed=1, folds=range(12), direction="minimize")
    assert up.trials["state"].equals(down.trials["state"])
    assert up.best_params == down.best_params


def test_a_fold_without_a_value_fails_the_trial():
    def holed(params, fold):
        return math.nan if fold == 7 and params["x"] > 0.5 else params["x"]

    found = optimise(holed, ONE_AXIS, trials=30, seed=1, folds=range(12))
    assert (found.trials.filter(state="failed")["param.x"] > 0.5).all()
    assert found.best_params["x"] <= 0.5


def test_unit_cube_reaches_both_ends_and_gives_each_value_its_share():
    space = Space.from_dict(SPACE)
    low, high = space.at([0.0] * 6), space.at([1.0] * 6)
    assert low == {"enter": pytest.approx(0.1), "length": 5, "factor": 1.0, "slow": 20, "span": 1, "side": "long"}
    assert high == {
        "enter": pytest.approx(10.0),
        "length": 50,
        "factor": 4.0,
        "slow": 200,
        "span": 1000,
        "side": "both",
    }
    grid = (np.arange(7000) + 0.5) / 7000
    counts = np.unique([space.axes["factor"].at(u) for u in grid], return_counts=True)[1]
    assert counts.tolist() == [1000] * 7
    octaves = np.array([space.axes["span"].at(u) for u in grid])
    assert (octaves == 1).mean() == pytest.approx(math.log(3) / math.log(2001), abs=1e-3)


def test_choices_keep_their_own_type():
    found = optimise(lambda p: float(type(p["k"]) is bool), {"k": {"choices": [1, True, "1"]}}, trials=20, seed=1)
    assert found.best_params == {"k": True}
    assert type(found.best_params["k"]) is bool
    assert set(found.trials["param.k"]) == {"1", "True", "'1'"}


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_space_repeats_the_one_trial_there_is(kind):
    found = search(kind, target=lambda params: 1.0, space={})
    assert found.best_params == {}
    assert found.best_value == 1.0


@pytest.mark.parametrize(
    ("axis", "named"),
    [
        ({"low": 1}, "high"),
        ({"low": 2, "high": 1}, "low"),
        ({"low": 0, "high": 1, "log": True}, "low"),
        ({"low": 1.0, "high": 2.0, "step": 0.3}, "step"),
        ({"low": 1, "high": 5, "step": 0}, "step"),
        ({"low": 1, "high": 5, "step": 2, "log": True}, "step"),
        ({"low": 1, "high": 5, "log": 1}, "log"),
        ({"low": math.nan, "high": 5}, "low"),
        ({"low": True, "high": 5}, "low"),
        ({"low": 1, "hihg": 5}, "hihg"),
        ({"choices": []}, "choices"),
        ({"choices": [1, 1]}, "choices"),
        ({"choices": "abc"}, "choices"),
        ({"choices": [None]}, "choices"),
        ({"choices": [1], "low": 0}, "either"),
        ([1, 2], "mapping"),
    ],
)
def test_a_bad_axis_is_named(axis, named):
    with pytest.raises(InvalidInput, match=rf"space\.k.*{named}"):
        Space.from_dict({"k": axis})


@pytest.mark.parametrize(
    "call",
    [
        lambda: optimise(objective, SPACE, trials=0, seed=1),
        lambda: optimise(objective, SPACE, trials=1, seed=1, sampler="grid"),
        lambda: optimise(objective, SPACE, trials=1, seed=1, direction="up"),
        lambda: optimise(objective, SPACE, trials=1, seed=1, folds=[]),
        lambda: evolve(objective, SPACE, generations=-1, population=10, seed=1),
        lambda: evolve(objective, SPACE, generations=1, population=3, seed=1),
        lambda: evolve(objective, SPACE, generations=1, population=4, seed=1, direction="up"),
        lambda: optimise(lambda p: (1.0, {"value": 2.0}), SPACE, trials=1, seed=1),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InvalidInput):
        call()
