"""The ledger of trials: what is one trial, what is counted, and which days are compared."""

import json
import math
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.metrics.effective_trials import effective_trials
from research.search import evolve, optimise
from research.validation.trial_ledger import (
    SCHEMA,
    SOURCES,
    STATES,
    Study,
    TrialLedger,
    content_hash,
    frames_hash,
    params_of,
)

STUDY = Study("trend", "3f2a", "2024-01-01/2024-03-31")
DAYS = np.arange("2024-01-01", "2024-03-31", dtype="datetime64[D]")


def drawn(seed, size=DAYS.size):
    return np.random.default_rng(seed).normal(0.001, 0.02, size)


def filled(count=5, study=STUDY, first=0):
    ledger = TrialLedger()
    for k in range(first, first + count):
        ledger.add(study, {"length": k}, source="sweep", returns=drawn(k), days=DAYS)
    return ledger


def test_a_trial_is_strategy_parameters_data_window_and_costs():
    ledger = TrialLedger()
    base = {"study": STUDY, "params": {"length": 5, "band": 0.5}, "costs": {"fee_bps": 5.5}, "source": "sweep"}

    def add(**changed):
        given = base | changed
        return ledger.add(given["study"], given["params"], costs=given["costs"], source=given["source"])

    ids = [
        add(),
        add(params={"length": 6, "band": 0.5}),
        add(params={"length": 5, "band": 0.5, "more": None}),
        add(costs={"fee_bps": 2.0}),
        add(study=Study("other", STUDY.data_hash, STUDY.window)),
        add(study=Study(STUDY.strategy, "beef", STUDY.window)),
        add(study=Study(STUDY.strategy, STUDY.data_hash, "2024-04-01/2024-06-30")),
    ]
    assert len(set(ids)) == 7
    same = [
        add(params={"band": np.float64(0.5), "length": 5.0}),  # order of keys and types of numbers are no parameters
        add(source="manual"),  # nor is who asked
    ]
    assert same == [ids[0]] * 2
    assert ledger.count() == 7
    assert ledger.looks() == 9
    assert ledger.frame.filter(trial_id=ids[0]).select("looks", "source").row(0) == (3, "sweep")


def test_true_and_one_are_two_values_and_what_is_not_plain_is_refused():
    assert content_hash({"a": True}) != content_hash({"a": 1})
    assert content_hash([1.0, -0.0]) == content_hash((1, 0))
    for wrong in (math.nan, math.inf, object(), {1: 2}, {"a": {"b": math.nan}}):
        with pytest.raises(InvalidInput):
            content_hash(wrong)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(values, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_hash_knows_no_order_of_keys(value, random):
    def shuffled(item):
        if isinstance(item, dict):
            keys = list(item)
            random.shuffle(keys)
            return {key: shuffled(item[key]) for key in keys}
        return [shuffled(part) for part in item] if isinstance(item, list) else item

    assert content_hash(shuffled(value)) == content_hash(value)


def test_failed_and_pruned_trials_are_counted_but_not_compared():
    ledger = filled(3)
    ledger.add(STUDY, {"length": 90}, source="optuna", state="failed", returns=np.zeros(DAYS.size), days=DAYS)
    ledger.add(STUDY, {"length": 91}, source="optuna", state="pruned", returns=drawn(91, 20), days=DAYS[:20])
    assert ledger.count() == 5
    found = ledger.returns_matrix()
    assert found.values.shape == (DAYS.size, 3)
    assert np.array_equal(found.values, np.stack([drawn(k) for k in range(3)], axis=1))
    expected = [drawn(k).mean() / drawn(k).std(ddof=1) for k in range(3)]
    assert ledger.sharpes().tolist() == expected
    assert ledger.sharpe_variance() == np.var(expected, ddof=1)
    assert math.isnan(filled(1).sharpe_variance())
    # All trials are worth what the complete ones are, in proportion: three independent ones by a method that says so.
    assert ledger.effective_number_of_trials(method=lambda matrix: matrix.shape[1]) == 5.0
    by_spread = effective_trials(found.values).by_spread
    assert ledger.effective_number_of_trials() == min(by_spread * 5 / 3, 5.0)


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_of_two_looks_the_better_state_stays(first, second):
    ledger = TrialLedger()
    for k, state in enumerate((first, second)):
        ledger.add(STUDY, {}, source="optuna", state=state, returns=drawn(k), days=DAYS)
    row = ledger.frame.row(0, named=True)
    kept = int(STATES.index(second) > STATES.index(first))
    assert (row["state"], row["looks"], row["returns"]) == ((first, second)[kept], 2, drawn(kept).tolist())
    # Two complete looks that disagree: the name of the trial leaves out something that decides it.
    assert row["differs"] == (first == second == "complete")


def test_the_same_returns_again_are_no_difference_and_late_ones_are_kept():
    ledger = TrialLedger()
    ledger.add(STUDY, {}, source="manual")
    assert ledger.frame["returns"].null_count() == 1
    for _ in range(2):
        ledger.add(STUDY, {}, source="manual", returns=drawn(0), days=DAYS)
    row = ledger.frame.row(0, named=True)
    assert (row["looks"], row["differs"], row["days"], row["first_day"]) == (3, False, DAYS.size, date(2024, 1, 1))


def test_trials_are_compared_on_the_days_that_all_of_them_have():
    ledger = TrialLedger()
    holed = np.delete(np.arange(DAYS.size), [10, 11, 40])
    ledger.add(STUDY, {"k": 0}, source="sweep", returns=drawn(0), days=DAYS)
    ledger.add(STUDY, {"k": 1}, source="sweep", returns=drawn(1)[holed], days=DAYS[holed])
    ledger.add(STUDY, {"k": 2}, source="sweep", returns=drawn(2)[5:60], days=pl.Series(DAYS[5:60]))
    found = ledger.returns_matrix()
    expected = [k for k in range(5, 60) if k not in (10, 11, 40)]
    assert found.days.tolist() == DAYS[expected].tolist()
    assert np.array_equal(found.values, np.stack([drawn(k)[expected] for k in range(3)], axis=1))
    assert ledger.frame["days"].to_list() == [DAYS.size, holed.size, 55]


def test_windows_are_compared_apart():
    other = Study("trend", "3f2a", "2024-04-01/2024-06-29")
    later = np.arange("2024-04-01", "2024-06-30", dtype="datetime64[D]")
    ledger = filled(2)
    for k in range(3):
        ledger.add(other, {"length": k}, source="sweep", returns=drawn(50 + k), days=later)
    ledger.add(Study("mean", "3f2a", other.window), {}, source="deap", returns=drawn(60), days=later)
    with pytest.raises(InvalidInput, match="share days"):
        ledger.returns_matrix()
    assert [ledger.count(), ledger.count(STUDY.window), ledger.count(other.window)] == [6, 2, 4]
    assert ledger.returns_matrix(other.window).values.shape == (90, 4)
    assert ledger.select(strategy="trend", window=other.window).count() == 3
    assert ledger.select(data_hash="none").count() == 0
    with pytest.raises(InvalidInput, match="complete trial"):
        TrialLedger().returns_matrix()


def brute_force(told):
    """Looks by name, in the order of the first look; an oracle that knows no merging."""
    found = {}
    for key in told:
        found[key] = found.get(key, 0) + 1
    return found


@given(st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_merging_counts_every_look_once_and_keeps_the_order(parts):
    ledgers = []
    for part in parts:
        ledgers.append(TrialLedger())
        for k in part:
            ledgers[-1].add(STUDY, {"k": k}, source="sweep", returns=drawn(k), days=DAYS)
    before = [ledger.frame for ledger in ledgers]
    merged = TrialLedger().merge(*ledgers)
    expected = brute_force([k for part in parts for k in part])
    rows = merged.frame
    assert [json.loads(p)["k"] for p in rows["params"]] == list(expected)
    assert rows["looks"].to_list() == list(expected.values())
    assert rows["order"].to_list() == list(range(len(expected)))
    assert not rows["differs"].any()
    assert merged.looks() == sum(map(len, parts))
    assert all(a.equals(ledger.frame, null_equal=True) for a, ledger in zip(before, ledgers, strict=True))


def test_a_frame_makes_the_same_ledger_again():
    ledger = filled(3).merge(filled(2, first=2))
    ledger.add(STUDY, {"length": 90}, source="manual", state="failed")
    ledger.add(STUDY, {"length": 91}, source="manual", returns=[], days=[])
    frame = ledger.frame
    assert frame.schema == pl.Schema(SCHEMA)
    again = TrialLedger(frame.sample(fraction=1.0, shuffle=True, seed=1))  # order is a column, not a place
    assert again.frame.equals(frame, null_equal=True)
    assert again.returns_matrix().trial_ids == ledger.returns_matrix().trial_ids
    assert TrialLedger(TrialLedger().frame).count() == 0
    with pytest.raises(SchemaMismatch):
        TrialLedger(frame.drop("looks"))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"source": "grid"}, "trial.source"),
        ({"state": "done"}, "trial.state"),
        ({"returns": [0.1, math.nan]}, "trial.returns"),
        ({"returns": [[0.1]]}, "trial.returns"),
        ({"returns": [0.1, 0.2], "days": None}, "trial.days"),
        ({"returns": [0.1, 0.2], "days": DAYS[:3]}, "trial.days"),
        ({"returns": [0.1, 0.2], "days": DAYS[[1, 0]]}, r"trial.days\[1\]"),
        ({"returns": [0.1, 0.2], "days": DAYS[[1, 1]]}, r"trial.days\[1\]"),
        ({"returns": [0.1, 0.2], "days": [1, 2]}, "trial.days"),
        ({"params": {"a": math.nan}}, "value.a"),
    ],
)
def test_what_is_no_trial_is_refused_and_not_counted(changed, told):
    ledger = TrialLedger()
    given = {"params": {}, "source": "sweep", "days": DAYS[:2]} | changed
    with pytest.raises(InvalidInput, match=told):
        ledger.add(STUDY, given.pop("params"), **given)
    assert ledger.count() == 0
    with pytest.raises(InvalidInput, match=r"study\.window"):
        Study("a", "b", "")


def test_a_table_with_one_bad_trial_tells_nothing():
    ledger = TrialLedger()
    params = [{"a": 1}, {"a": 2}]
    with pytest.raises(InvalidInput):
        ledger.add_table(STUDY, params, source="sweep", states=["complete", "lost"])
    with pytest.raises(InvalidInput, match="states"):
        ledger.add_table(STUDY, params, source="sweep", states=["complete"])
    assert ledger.count() == 0


def test_frames_have_one_hash_wherever_they_come_from():
    frame = pl.DataFrame({"ts": DAYS[:3], "close": [1.0, None, 3.0], "name": ["a", None, "b"]})
    same = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert frames_hash(bars=same) == frames_hash(bars=frame)
    others = [
        frames_hash(mark=frame), frames_hash(bars=frame, mark=None), frames_hash(bars=None),
        frames_hash(bars=frame[:2]),
        frames_hash(bars=frame.with_columns(pl.col("close").fill_null(0.0))),
        frames_hash(bars=frame.rename({"close": "open"})), frames_hash(bars=frame.with_columns(name=pl.lit("a"))),
        frames_hash(bars=frame.with_columns(pl.col("close").cast(pl.Float32))), frames_hash(bars=frame),
    ]  # fmt: skip
    assert len(set(others)) == len(others)


def test_searches_tell_all_their_trials():
    space = {"length": {"low": 2, "high": 40}, "kind": {"choices": ["a", "b"]}}

    def objective(params):
        return math.nan if params["length"] < 8 else -abs(params["length"] - 20.0)

    ledger = TrialLedger()
    for source, found in (
        ("optuna", optimise(objective, space, trials=12, seed=1, sampler="random")),
        ("deap", evolve(objective, space, generations=2, population=6, seed=1)),
    ):
        trials = found.trials
        told = ledger.add_table(STUDY, params_of(trials), source=source, states=trials["state"].to_list())
        assert len(told) == found.n_trials
        assert set(told) <= set(ledger.frame["trial_id"])
    assert ledger.looks() == trials.height + 12
    assert set(ledger.frame["source"]) <= set(SOURCES)
    failed = ledger.frame.filter(state="failed")["params"].to_list()
    assert failed
    assert all(json.loads(p)["length"] < 8 for p in failed)
    assert all(json.loads(p)["length"] >= 8 for p in ledger.frame.filter(state="complete")["params"])


def test_a_table_of_returns_is_told_column_by_column():
    returns = pl.DataFrame({"day": pl.Series(DAYS).cast(pl.Date), "0": drawn(0), "2": drawn(2)})
    ledger = TrialLedger()
    told = ledger.add_table(STUDY, [{"k": 0}, {"k": 1}, {"k": 2}], source="sweep", returns=returns)
    found = ledger.returns_matrix()
    assert found.trial_ids == (told[0], told[2])
    assert np.array_equal(found.values[:, 1], drawn(2))
    assert ledger.count() == 3
