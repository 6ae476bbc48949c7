"""Walk-forward: stitching, threads, and what a callable may get wrong."""

import numpy as np
import polars as pl
import pytest

from research.errors import InvalidInput, MisalignedBars
from research.market.bars import TS
from research.search import optimise
from research.validation import walk_forward, walk_forward_folds

DAY = 86_400_000_000_000
N = 365
RETURNS = np.random.default_rng(2).normal(0.001, 0.02, N)
STAMPS = pl.Series("ts", np.arange(N, dtype=np.int64) * DAY).cast(TS)
FOLDS = walk_forward_folds(N, train=90, test=30, step=7)


def choose(fold):
    """Search a leverage on the training rows."""

    def objective(params):
        values = RETURNS[fold.train] * params["leverage"]
        return float(values.mean() - 4.0 * values.var()), {"sharpe_day": float(values.mean() / values.std(ddof=1))}

    study = optimise(objective, {"leverage": {"low": 0.0, "high": 3.0}}, trials=15, seed=fold.index)
    return study.best_params, study.trials


def evaluate(choice, fold):
    return pl.DataFrame({"ts": STAMPS[fold.test], "ret": RETURNS[fold.test] * choice["leverage"]})


def test_each_day_is_stitched_once_with_the_choice_of_its_fold():
    result = walk_forward(FOLDS, choose, evaluate)
    days = result.returns["ts"].to_physical().to_numpy() // DAY
    assert days.tolist() == list(range(90, 90 + 36 * 7))
    assert result.returns.columns == ["fold", "ts", "ret"]
    leverage = result.folds["param.leverage"].to_numpy()
    assert len(set(leverage)) > 10
    for i, (fold, ret) in enumerate(zip(result.returns["fold"], result.returns["ret"], strict=True)):
        assert fold == i // 7
        assert ret == RETURNS[90 + i] * leverage[fold]


def test_tables_hold_every_fold_and_every_trial():
    result = walk_forward(FOLDS, choose, evaluate)
    assert result.folds.select(
        "fold", "train_start", "train_stop", "test_start", "test_stop", "stitch_stop"
    ).rows() == [(f.index, f.train_start, f.train_stop, f.test_start, f.test_stop, f.stitch_stop) for f in FOLDS]
    assert result.trials.height == 36 * 15
    assert result.trials["fold"].unique().sort().to_list() == list(range(36))
    best = result.trials.sort("fold", "value", descending=[False, True]).group_by("fold", maintain_order=True).first()
    assert best["param.leverage"].to_list() == result.folds["param.leverage"].to_list()


def test_two_threads_find_what_one_finds():
    one, two = walk_forward(FOLDS, choose, evaluate), walk_forward(FOLDS, choose, evaluate, threads=2)
    for name in ("folds", "returns", "trials"):
        assert getattr(one, name).equals(getattr(two, name), null_equal=True)
        assert getattr(one, name).schema == getattr(two, name).schema


def test_choices_may_differ_in_their_names_and_trials_may_be_missing():
    folds = FOLDS[:2]
    choices = [{"kind": "rule", "leverage": 1.0}, {"leverage": 2.0, "length": 5}]
    result = walk_forward(folds, lambda fold: (choices[fold.index], None), evaluate)
    assert result.folds.select("param.kind", "param.leverage", "param.length").rows() == [
        ("rule", 1.0, None),
        (None, 2.0, 5),
    ]
    assert result.trials.is_empty()


def test_an_exception_names_its_fold():
    def fails(fold):
        if fold.index == 3:
            raise ZeroDivisionError("no trades")
        return {"leverage": 1.0}, None

    with pytest.raises(ZeroDivisionError) as caught:
        walk_forward(FOLDS, fails, evaluate, threads=2)
    assert "Fold(index=3" in caught.value.__notes__[0]


def test_an_evaluation_must_return_its_test_rows():
    def fixed(fold):
        return {"leverage": 1.0}, None

    with pytest.raises(InvalidInput, match="30 test rows"):
        walk_forward(FOLDS, fixed, lambda choice, fold: evaluate(choice, fold).head(29))
    with pytest.raises(InvalidInput, match="column ts"):
        walk_forward(FOLDS, fixed, lambda choice, fold: evaluate(choice, fold).drop("ts"))
    with pytest.raises(MisalignedBars, match=r"returns.ts\[7\]"):
        walk_forward(FOLDS, fixed, lambda choice, fold: pl.DataFrame({"ts": STAMPS[:30]}))
    with pytest.raises(InvalidInput, match="folds"):
        walk_forward([], fixed, evaluate)
    with pytest.raises(InvalidInput, match="threads"):
        walk_forward(FOLDS, fixed, evaluate, threads=0)
