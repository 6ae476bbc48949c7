"""Gradient-boosted trees fitted so that the same rows give the same bytes. It chooses no parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from research.errors import InvalidInput
from research.learning.dataset import Dataset

if TYPE_CHECKING:
    import lightgbm

# Parameters, with LightGBM's aliases, that the caller may not set: they decide reproducibility, or look at test rows.
_OWNED = {
    "seed", "random_seed", "random_state", "deterministic", "force_row_wise", "force_col_wise", "num_threads",
    "num_thread", "nthread", "nthreads", "n_jobs", "num_iterations", "num_iteration", "n_iter", "num_tree",
    "num_trees", "num_round", "num_rounds", "nrounds", "num_boost_round", "n_estimators", "max_iter",
    "early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change", "device", "device_type",
    "valid", "test", "valid_data", "valid_data_file", "test_data", "test_data_file", "valid_filenames",
}  # fmt: skip


def fit_lightgbm(
    dataset: Dataset, params: Mapping[str, object] | None = None, *, seed: int, rounds: int, threads: int = 1
) -> lightgbm.Booster:
    """Fit boosted trees on every row of a dataset.

    The number of rounds is given, never found by early stopping: a validation set would have to come from the rows
    that the caller tests on, or be purged by the caller.

    Parameters
    ----------
    dataset : Dataset
        Rows to learn from, already cut at the end of the training period.
    params : mapping, optional
        LightGBM parameters (``objective`` defaults to ``regression``); reproducibility is not negotiable.
    seed : int
        Seeds bagging and feature sampling.
    rounds : int
        Number of trees.
    threads : int
        Threads of the fit. 1 by default: sums of gradients are then added in one order on any machine.

    Raises
    ------
    InvalidInput
        If there are no rows, ``rounds`` or ``threads`` is below 1, or ``params`` sets what this function owns.
    """
    import lightgbm

    params = dict(params or {})
    owned = sorted(_OWNED & set(params))
    if owned:
        raise InvalidInput(f"params.{owned[0]}", "is set by fit_lightgbm", params[owned[0]])
    if dataset.n_rows == 0:
        dropped = f"{dataset.dropped_features} rows had no feature, {dataset.dropped_labels} no label"
        raise InvalidInput("dataset", f"must have rows ({dropped})", 0)
    for name, value in (("rounds", rounds), ("threads", threads)):
        if value < 1:
            raise InvalidInput(name, "must be at least 1", value)
    settings = {"objective": "regression", "verbosity": -1} | params
    settings |= {"seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": threads}
    # Columns go by position: LightGBM refuses names with the characters of JSON and rewrites those with blanks.
    rows = lightgbm.Dataset(dataset.X, dataset.y, params=settings, free_raw_data=True)
    return lightgbm.train(settings, rows, num_boost_round=rounds)


def importance(booster: lightgbm.Booster, columns: Sequence[str]) -> pl.DataFrame:
    """Return what each column contributed to a fit.

    Parameters
    ----------
    booster : lightgbm.Booster
        A fitted model.
    columns : sequence of str
        Names in the order of the matrix it was fitted on.

    Returns
    -------
    DataFrame
        ``column``, ``gain`` (total reduction of the training loss), ``gain_frac`` (share of the total; NaN where no
        tree was split) and ``splits``; largest gain first, then by name. In-sample: a column of noise also gains.
    """
    if booster.num_feature() != len(columns):
        raise InvalidInput("columns", f"must name the booster's {booster.num_feature()} features", list(columns))
    gain = booster.feature_importance("gain")
    table = pl.DataFrame(
        {"column": list(columns), "gain": gain, "splits": booster.feature_importance("split").astype("int64")},
        schema={"column": pl.String, "gain": pl.Float64, "splits": pl.Int64},
    )
    share = (pl.col("gain") / pl.col("gain").sum()).alias("gain_frac")
    ordered = table.select("column", "gain", share, "splits")
    return ordered.sort(["gain", "column"], descending=[True, False])
