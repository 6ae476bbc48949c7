"""The search of candidates: a strategy's parameters, scored by trading them on validation segments. It reads no file.

A segment is a run of decision rows. A learned candidate is fitted on rows before a segment (purged of labels that
reach into it), a rule needs no fit; both are then decided, sized and traded by the kernels that live runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY
from research.metrics.returns import DAYS_PER_YEAR, daily_returns, sharpe
from research.predictor import Predictor
from research.search.desk import Candidate, Desk
from research.search.space import Space
from research.search.study import StudyResult, optimise


@dataclass(frozen=True)
class Choice:
    """What a search found.

    Parameters
    ----------
    candidate : Candidate
        The best one; the first where no trial of any has a value.
    params : dict
        Its searched parameters; the middle of its space where no trial has a value.
    value : float
        Its annualised Sharpe ratio over the validation segments, in sample; NaN where no trial has a value.
    trials : DataFrame
        One row per trial of every candidate: the columns of :class:`research.search.StudyResult`, ``candidate``,
        ``sharpe_day`` (Sharpe ratio per day, NaN where it does not exist) and ``days``.
    daily : (n_days,) array
        Its returns of each UTC day of the segments, fractions; empty where no trial has a value.
    returns : DataFrame
        ``day`` (date, UTC) and one column for each trial, named by its row in ``trials``: the returns of each day of
        the segments, which the statistics of overfitting read. A trial that did not trade has zeros; in a range too
        short for segments of whole days, a day that an edge cuts is there twice.
    """

    candidate: Candidate
    params: dict[str, Any]
    value: float
    trials: pl.DataFrame
    daily: FloatArray
    returns: pl.DataFrame


def segments(start: int, stop: int, folds: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Return validation segments: the range in ``folds + 1`` equal parts, the first kept for fitting alone.

    Parameters
    ----------
    start, stop : int
        The range, half open.
    folds : int
        Segments.
    multiple : int
        Inner edges lie this many rows apart from ``start``, or a multiple: a day's rows keep daily returns whole.

    Raises
    ------
    InvalidInput
        If a part would be empty.

    Examples
    --------
    >>> segments(0, 100, 3), segments(0, 100, 3, multiple=10)
    ([(25, 50), (50, 75), (75, 100)], [(20, 50), (50, 80), (80, 100)])
    """
    edges = np.linspace(start, stop, folds + 2)
    edges[1:-1] = start + np.round((edges[1:-1] - start) / multiple) * multiple
    edges = edges.astype(int)
    if np.diff(edges).min() < 1:
        raise InvalidInput("segments", f"need at least {folds + 1} rows", stop - start)
    return [(int(a), int(b)) for a, b in pairwise(edges[1:])]


def choose(
    desk: Desk, candidates: Sequence[Candidate], start: int, stop: int, *, trials: int, folds: int, sampler: str,
    seed: int, progress: bool = False,
) -> Choice:  # fmt: skip
    """Search every candidate on a range of decision rows and return the best.

    Parameters
    ----------
    desk : Desk
        What they are traded on.
    candidates : sequence of Candidate
        At least one. Of equal ones the first wins.
    start, stop : int
        Decision rows, the second excluded; no other is looked at.
    trials : int
        For each candidate.
    folds : int
        Validation segments; the objective is the annualised Sharpe ratio of their daily returns, stitched. Every
        segment is traded flat and cold; a learned candidate is fitted on the rows before it.
    sampler : str
        ``"tpe"`` or ``"random"``.
    seed : int
        Of the first candidate's search; the next ones take the numbers after it.
    progress : bool
        Show a bar where there is a terminal or a notebook.

    Returns
    -------
    Choice
        The same for the same arguments. That no trial has a value (none traded) is a value in it.

    Raises
    ------
    InvalidInput
        If there is no candidate, the range is too short, a space is not one, or a strategy, parameter or input is
        unknown or out of range.
    FundingHole
        If funding rows do not cover the range.
    """
    if not candidates:
        raise InvalidInput("candidates", "must be at least one", 0)
    day = NS_PER_DAY // desk.decision_ns
    parts = segments(start, stop, folds, day if stop - start >= 2 * (folds + 1) * day else 1)
    best: tuple[Candidate, StudyResult] | None = None
    tables: list[pl.DataFrame] = []
    tried: list[FloatArray] = []
    for number, candidate in enumerate(candidates):

        def objective(params: dict[str, Any], candidate: Candidate = candidate) -> tuple[float, dict[str, float]]:
            stitched = _validate(desk, candidate, params, start, parts)
            tried.append(stitched)
            per_day = sharpe(stitched, periods_per_year=1.0)
            return per_day * math.sqrt(DAYS_PER_YEAR), {"sharpe_day": per_day, "days": float(stitched.size)}

        study = optimise(
            objective, candidate.space, trials=trials, seed=seed + number, sampler=sampler, progress=progress
        )
        tables.append(study.trials.with_columns(pl.lit(candidate.name).alias("candidate")))
        if np.isfinite(study.best_value) and (best is None or study.best_value > best[1].best_value):
            best = (candidate, study)
    table = pl.concat(tables, how="diagonal_relaxed")
    daily = pl.DataFrame({"day": _days(desk, parts)} | {str(row): values for row, values in enumerate(tried)})
    if best is None:
        return Choice(candidates[0], middle(candidates[0].space), float("nan"), table, np.empty(0), daily)
    chosen, params = best[0], dict(best[1].best_params)
    returns = _validate(desk, chosen, params, start, parts)
    return Choice(chosen, params, float(best[1].best_value), table, returns, daily)


def _validate(
    desk: Desk, candidate: Candidate, params: Mapping[str, Any], start: int, parts: Sequence[tuple[int, int]]
) -> FloatArray:
    """Return the daily returns of the segments, one after the other."""
    found = []
    for part in parts:
        predictor = desk.fit(start, part[0]) if candidate.is_learned else Predictor.none()
        result = desk.trade(candidate, params, predictor, *part)
        # From the rows: the frame of a result, with its drawdown, takes a quarter of a trial.
        found.append(daily_returns(result.ts, result.ledger.rows["equity"], desk.initial_cash_quote))
    return np.concatenate(found)


def _days(desk: Desk, parts: Sequence[tuple[int, int]]) -> pl.Series:
    """Return the UTC days of the segments, one after the other."""
    days = [np.unique(desk.decision_ts[begin:end] // NS_PER_DAY) for begin, end in parts]
    return pl.Series(np.concatenate(days).astype(np.int32)).cast(pl.Date)


def middle(space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters in the middle of a space, as :meth:`research.search.Space.from_dict` takes it.

    Examples
    --------
    >>> middle({"enter": {"low": 0.5, "high": 4.5}, "length": {"low": 5, "high": 50}})
    {'enter': 2.5, 'length': 28}
    """
    found = Space.from_dict(space)
    return found.at([0.5] * len(found.axes))
