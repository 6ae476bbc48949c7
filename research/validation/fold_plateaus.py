"""Whether the best trial of each fold stands on a plateau of its trials. It runs no trial and changes no choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from research.backtest.neighbours import direction, is_ordered, metric_of
from research.backtest.plateau import PLATEAU_SHARE, SPREAD, TOLERANCE, plateau
from research.errors import InvalidInput
from research.kernel import FloatArray
from research.validation.stability import PREFIX, place_in_range

RADIUS = 0.1
# Fewer trials near the best say nothing: two of two within the tolerance are no plateau.
MIN_NEAR = 3
_SCHEMA = {
    "fold": pl.Int64, "value": pl.Float64, "verdict": pl.String, "neighbours": pl.Int64, "share_within": pl.Float64,
    "robustness": pl.Float64, "near": pl.Int64, "near_within": pl.Float64, "on_plateau": pl.Boolean,
}  # fmt: skip


def fold_plateaus(
    trials: pl.DataFrame,
    space: Mapping[str, Mapping[str, Any]] | None = None,
    metric: str = "value",
    within: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    radius: float = RADIUS,
) -> pl.DataFrame:
    """Judge the best trial of each fold by the trials beside it.

    Parameters
    ----------
    trials : DataFrame
        :attr:`WalkForwardResult.trials`: ``fold``, ``param.NAME`` columns, the metric, and where there is one
        ``state``, of which only ``complete`` trials have a value.
    space : mapping, optional
        As :func:`parameter_stability` takes it. A parameter without one has the range of the fold's trials.
    metric : str
        What was optimised; its direction is :func:`research.backtest.neighbours.direction`'s.
    within : sequence of str
        Further columns that a trial must share with the best one to be compared with it, such as the candidate.
    tolerance : float
        How far below the best a trial still is as good, as a fraction of the distance from the 5th to the 95th
        percentile of the fold's values, at least 0.
    radius : float
        Distance in every parameter at which a trial is near, as a share of its range, in (0, 1].

    Returns
    -------
    DataFrame
        One row per fold, in order:

        ``value``
            Of the best trial; NaN, and all others unknown, where no trial has one.
        ``verdict``, ``neighbours``, ``share_within``, ``robustness``
            By the neighbours on the grid, as :class:`research.backtest.plateau.Plateau` has them. Trials drawn at
            random have none: ``unknown``.
        ``near``, ``near_within``
            Other combinations within the radius (strings and truth values equal), and the share of them that are as
            good; NaN without any. One that failed or was stopped early is near, and not as good.
        ``on_plateau``
            The verdict where there is one; else whether 3/4 of the near ones are as good, null with fewer than 3.

    Raises
    ------
    InvalidInput
        If there are no trials or no parameters, a column is missing, or tolerance or radius is out of range.

    Examples
    --------
    >>> values = [0.0, 0.98, 1.0, 0.97, 0.1]
    >>> trials = pl.DataFrame({"fold": [0] * 5, "param.length": [5, 10, 15, 20, 25], "value": values})
    >>> fold_plateaus(trials).select("verdict", "share_within", "near", "on_plateau").row(0)
    ('plateau', 1.0, 0, True)
    """
    if trials.is_empty() or "fold" not in trials.columns:
        raise InvalidInput("trials", "must have rows and a column fold", trials.columns)
    if not 0.0 < radius <= 1.0:
        raise InvalidInput("radius", "must lie in (0, 1]", radius)
    if not 0.0 <= tolerance < math.inf:
        raise InvalidInput("tolerance", "must be at least 0 and finite", tolerance)
    params = [name for name in trials.columns if name.startswith(PREFIX)]
    if not params:
        raise InvalidInput("trials", f"must have a column {PREFIX}NAME", trials.columns)
    missing = [name for name in within if name not in trials.columns]
    if missing:
        raise InvalidInput("within", f"must name columns of the trials ({', '.join(trials.columns)})", missing[0])
    value = metric_of(trials, metric)
    if "state" in trials.columns:
        value = np.where((trials["state"] == "complete").to_numpy(), value, np.nan)
    stated = {name.removeprefix(PREFIX): axis for name, axis in (space or {}).items()}
    known = pl.Series(metric, value).fill_nan(None)  # null sorts last, NaN would sort first
    table = trials.select("fold", *within, *params).with_columns(known)
    parts = table.sort("fold", maintain_order=True).partition_by("fold", maintain_order=True)
    rows = [_judged(part, params, metric, within, stated, tolerance, radius) for part in parts]
    return pl.DataFrame(rows, schema=_SCHEMA)


def plateau_share(judged: pl.DataFrame) -> float:
    """Return the share of folds on a plateau among those where that is known; NaN where it is for none.

    Parameters
    ----------
    judged : DataFrame
        Of :func:`fold_plateaus`.
    """
    known = judged["on_plateau"].drop_nulls()
    return float(known.mean()) if known.len() else math.nan  # type: ignore[arg-type]


def _judged(
    part: pl.DataFrame,
    params: Sequence[str],
    metric: str,
    within: Sequence[str],
    space: Mapping[str, Mapping[str, Any]],
    tolerance: float,
    radius: float,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "fold": part["fold"][0], "value": math.nan, "verdict": "unknown", "neighbours": 0, "share_within": math.nan,
        "robustness": math.nan, "near": 0, "near_within": math.nan, "on_plateau": None,
    }  # fmt: skip
    score = direction(metric) * metric_of(part, metric)
    score = np.where(np.isfinite(score), score, np.nan)
    if np.isnan(score).all():
        return row
    best = part.row(int(np.nanargmax(score)), named=True)
    row["value"] = best[metric]
    # Of several strategies' trials those that have the best one's parameters, and no others.
    own = [name for name in params if best[name] is not None]
    alike = [pl.col(name).eq_missing(pl.lit(best[name])) for name in within]
    alike += [pl.col(name).is_not_null() if name in own else pl.col(name).is_null() for name in params]
    part = part.filter(alike)
    # The same combination tried twice is one trial, the better one: a repetition may have been stopped early.
    part = part.sort(metric, descending=direction(metric) > 0, nulls_last=True, maintain_order=True)
    part = part.unique(own, keep="first", maintain_order=True)
    if own:
        at = {name: best[name] for name in own}
        found = plateau(part, own, metric, at=at, tolerance=tolerance)
        row |= {name: getattr(found, name) for name in ("verdict", "neighbours", "share_within", "robustness")}
        near = _near(part, own, at, space, radius)
        row["near"] = int(near.sum())
        score = direction(metric) * metric_of(part, metric)
        if row["near"]:
            spread = float(np.subtract(*np.quantile(score[np.isfinite(score)], SPREAD[::-1])))
            floor = direction(metric) * best[metric] - tolerance * spread
            row["near_within"] = float(np.mean(score[near] >= floor))  # NaN is not
    if row["verdict"] != "unknown":
        row["on_plateau"] = row["verdict"] == "plateau"
    elif row["near"] >= MIN_NEAR:
        row["on_plateau"] = row["near_within"] >= PLATEAU_SHARE
    return row


def _near(
    part: pl.DataFrame,
    params: Sequence[str],
    at: Mapping[str, Any],
    space: Mapping[str, Mapping[str, Any]],
    radius: float,
) -> np.ndarray:
    near, same = np.ones(part.height, dtype=bool), np.ones(part.height, dtype=bool)
    for name in params:
        short = name.removeprefix(PREFIX)
        column, axis = part[name], space.get(short)
        equal = np.array([value == at[name] for value in column.to_list()])
        same &= equal
        if not is_ordered(column) or (axis is not None and "choices" in axis):
            near &= equal
            continue
        values = column.cast(pl.Float64).to_numpy()
        reach = axis or {"low": float(values.min()), "high": float(values.max())}
        places: FloatArray = place_in_range(short, values, reach)
        # A billionth more: a step of 1/10 of the range is near at a radius of 1/10, whatever its rounding.
        near &= np.abs(places - place_in_range(short, np.array([float(at[name])]), reach)) <= radius + 1e-9
    return near & ~same
