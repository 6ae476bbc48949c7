"""Datasets, deterministic fits and the predictor that live runs."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from research.errors import FingerprintMismatch, InvalidInput
from research.labels import forward_return
from research.learning import fit_lightgbm, importance, make_dataset
from research.predictor import Predictor

COLUMNS = ["rsi", "slow, {ema}: 15m", "noise"]  # a name that LightGBM itself would refuse
PARAMS = {"num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 20, "feature_fraction": 0.7, "bagging_freq": 1,
          "bagging_fraction": 0.8}  # fmt: skip
STEP = 60_000_000_000


def market(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 3))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.01, n) + 0.004 * np.roll(features[:, 0], 1)))
    return features, close, np.arange(n, dtype=np.int64) * STEP


@pytest.fixture(scope="module")
def dataset():
    features, close, ts = market()
    return make_dataset(features, COLUMNS, forward_return(close, 2), ts, 2)


@pytest.fixture(scope="module")
def booster(dataset):
    return fit_lightgbm(dataset, PARAMS, seed=7, rounds=40)


@pytest.fixture(scope="module")
def predictor(booster):
    return Predictor.from_lightgbm(booster, COLUMNS)


def test_dropped_rows_are_counted_once():
    features, close, ts = market(100)
    features[[3, 4], 0] = np.nan
    features[4, 1] = np.inf
    label = forward_return(close, 5)
    label[[3, 10]] = np.nan
    found = make_dataset(features, COLUMNS, label, ts, 5)
    assert (found.n_rows, found.dropped_features, found.dropped_labels) == (100 - 2 - 1 - 5, 2, 6)
    assert np.isfinite(found.X).all()
    assert np.isfinite(found.y).all()
    kept = np.setdiff1d(np.arange(95), [3, 4, 10])
    assert found.X.tobytes() == features[kept].tobytes()
    assert found.ts.tolist() == ts[kept].tolist()
    assert found.label_end.tolist() == ts[kept + 5].tolist()


def test_known_before_purges_labels_that_reach_the_test():
    features, close, ts = market(50)
    found = make_dataset(features, COLUMNS, forward_return(close, 5), ts, 5)
    kept = found.known_before(int(ts[30]))
    assert kept.ts.tolist() == ts[:25].tolist()  # row 25's label reads bar 30
    assert kept.columns == found.columns


def test_a_label_made_of_later_bars_is_refused():
    features, close, ts = market(50)
    with pytest.raises(InvalidInput, match=r"label\[25\]"):
        make_dataset(features[:30], COLUMNS, forward_return(close, 5)[:30], ts[:30], 5)


def test_the_same_rows_give_the_same_model_text(dataset, booster):
    again = fit_lightgbm(dataset, PARAMS, seed=7, rounds=40)
    assert again.model_to_string() == booster.model_to_string()
    other = fit_lightgbm(dataset, PARAMS, seed=8, rounds=40)
    assert other.model_to_string() != booster.model_to_string()


def test_a_new_process_fits_the_same_model(booster):
    code = (
        "import sys; sys.path.insert(0, 'tests/test_research'); import hashlib, test_learning as t;"
        "f, c, ts = t.market(); d = t.make_dataset(f, t.COLUMNS, t.forward_return(c, 2), ts, 2);"
        "b = t.fit_lightgbm(d, t.PARAMS, seed=7, rounds=40);"
        "print(hashlib.sha256(b.model_to_string().encode()).hexdigest())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert ran.stdout.strip() == hashlib.sha256(booster.model_to_string().encode()).hexdigest()


def test_the_fit_learns_the_signal_and_importance_says_so(booster, dataset):
    table = importance(booster, COLUMNS)
    assert table.columns == ["column", "gain", "gain_frac", "splits"]
    assert table["column"][0] == "rsi"
    assert table["gain_frac"].sum() == pytest.approx(1.0, rel=1e-12)
    score = booster.predict(dataset.X, num_threads=1)
    assert np.corrcoef(score, dataset.y)[0, 1] > 0.2


def test_one_row_equals_the_batch_to_the_byte(predictor):
    rows = np.random.default_rng(5).standard_normal((500, 3))
    batch = predictor.predict(rows)
    single = np.concatenate([predictor.predict(rows[i : i + 1]) for i in range(500)])
    assert single.tobytes() == batch.tobytes()
    strided = np.asfortranarray(rows)
    assert predictor.predict(strided).tobytes() == batch.tobytes()


def test_a_row_with_a_hole_is_not_scored(predictor):
    rows = np.random.default_rng(5).standard_normal((6, 3))
    whole = predictor.predict(rows)
    rows[1, 2], rows[4, 0] = np.nan, np.inf
    score = predictor.predict(rows)
    assert np.isnan(score).tolist() == [False, True, False, False, True, False]
    assert score[[0, 2, 3, 5]].tobytes() == whole[[0, 2, 3, 5]].tobytes()
    assert np.isnan(predictor.predict(rows[1:2])).all()
    assert predictor.predict(rows[:0]).shape == (0,)


def test_saved_and_loaded_it_scores_the_same_bytes(predictor):
    rows = np.random.default_rng(6).standard_normal((200, 3))
    expected = predictor.predict(rows).tobytes()
    loaded = Predictor.from_dict(predictor.to_dict(), predictor.blob)
    assert loaded.sha256 == predictor.sha256
    assert loaded.predict(rows).tobytes() == expected
    assert pickle.loads(pickle.dumps(predictor)).predict(rows).tobytes() == expected


def test_other_bytes_than_the_manifest_names_are_refused(predictor):
    stated = predictor.to_dict()
    with pytest.raises(FingerprintMismatch):
        Predictor.from_dict(stated, predictor.blob + b"\n")
    with pytest.raises(FingerprintMismatch):
        Predictor.from_dict(stated | {"columns": COLUMNS[::-1]}, predictor.blob)


def test_no_model_scores_nothing():
    none = Predictor.none()
    assert np.isnan(none.predict(np.ones((4, 7)))).all()
    assert none.columns == ()
    assert Predictor.from_dict(none.to_dict(), b"").sha256 == none.sha256


def test_research_predictor_imports_no_heavy_library():
    heavy = ("lightgbm", "pandas", "sklearn", "optuna")  # scipy is loaded by numba itself
    code = f"import research.predictor, sys; print([m for m in {heavy} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["seed", "num_threads", "n_jobs", "early_stopping_round", "n_estimators"])
def test_a_parameter_that_decides_reproducibility_is_refused(dataset, name):
    with pytest.raises(InvalidInput, match=name):
        fit_lightgbm(dataset, {name: 1}, seed=1, rounds=5)


def test_bad_input_is_refused(dataset, predictor, booster):
    features, close, ts = market(20)
    label = forward_return(close, 2)
    bad = [
        lambda: make_dataset(features, COLUMNS[:2], label, ts, 2),
        lambda: make_dataset(features, ["a", "a", "b"], label, ts, 2),
        lambda: make_dataset(features, COLUMNS, label[:-1], ts, 2),
        lambda: make_dataset(features, COLUMNS, label, ts[::-1], 2),
        lambda: fit_lightgbm(dataset.known_before(0), seed=1, rounds=5),
        lambda: fit_lightgbm(dataset, seed=1, rounds=0),
        lambda: predictor.predict(np.ones((2, 4))),
        lambda: predictor.predict(np.ones(3)),
        lambda: Predictor("forest", b"x", ["a"]),
        lambda: Predictor("none", b"x", []),
        lambda: Predictor("lightgbm", b"", ["a"]),
        lambda: Predictor("lightgbm", b"not a model", ["a"]).predict(np.ones((1, 1))),
        lambda: Predictor("lightgbm", predictor.blob, ["a"]).predict(np.ones((1, 1))),
        lambda: Predictor.none().model(),
        lambda: Predictor.from_lightgbm(booster, ["a"]),
        lambda: importance(booster, ["a"]),
    ]
    for call in bad:
        with pytest.raises(InvalidInput):
            call()


def test_more_than_one_score_per_row_is_refused(dataset):
    classes = make_dataset(dataset.X, COLUMNS, np.append(np.arange(dataset.n_rows - 1) % 3, np.nan), dataset.ts, 1)
    booster = fit_lightgbm(classes, {"objective": "multiclass", "num_class": 3}, seed=1, rounds=2)
    with pytest.raises(InvalidInput, match="one score"):
        Predictor.from_lightgbm(booster, COLUMNS)
