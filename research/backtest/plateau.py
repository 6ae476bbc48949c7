"""Whether a point of a sweep is a peak or a plateau, judged by its neighbours; it runs no backtest and draws nothing.

A neighbour differs in **one** numeric parameter, by up to ``steps`` of the values the table has of it, whatever their
distance. Booleans and strings are fixed. With ``spread`` the distance from the 5th to the 95th percentile of the
metric over the whole table (a few ruined combinations do not stretch it), and ``robustness`` the neighbours' median as
a share of the value, the verdict is the first that holds:

=========  ============================================================================================================
unknown    The point has no value, or fewer than 2 neighbours, or fewer than half of those a full grid would have there
           (draws at random have none; a neighbour whose metric is NaN or infinite is none).
plateau    At least 3/4 of the neighbours are within ``tolerance`` (1/10) of the spread, above or below, and robustness,
           where it exists, is at least 1/2.
peak       The neighbours' median is worse by more than 1/3 of the spread, or robustness is 0 or less: a step away the
           gain is gone.
slope      Anything between: what is lost by a step is noticed, and is not everything.
=========  ============================================================================================================

The spread alone would not do: where most combinations lose much, a best that gains a little has neighbours that are
near it and lose. The best of pure noise is a peak, its neighbours being as good as any. On a surface without
differences worth the name the tolerance is as small as they are; there a robustness near 1 says that nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from research.backtest.neighbours import direction, is_ordered, metric_of, neighbours, parameters_of, ranks
from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray

Verdict = Literal["plateau", "slope", "peak", "unknown"]
MIN_NEIGHBOURS = 2
MIN_KNOWN_SHARE = 0.5
TOLERANCE = 0.1
PLATEAU_SHARE = 0.75
PLATEAU_ROBUSTNESS = 0.5
PEAK_DROP = 1.0 / 3.0
SPREAD = (0.05, 0.95)
# Metrics of equal trades differ by rounding; a tolerance below that would call a constant surface rough.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Plateau:
    """A point of a sweep beside its neighbours.

    Parameters
    ----------
    metric : str
        What is compared.
    at : dict
        The point's parameters.
    value : float
        Its metric.
    neighbours : int
        Combinations beside it with a finite metric.
    possible : int
        How many a full grid would have there.
    neighbour_median, neighbour_worst, neighbour_mean : float
        Of their metric; NaN without any. The worst is the smallest where more is better.
    share_within : float
        Share of them within the tolerance; NaN without any.
    robustness : float
        ``neighbour_median / value``, or its inverse where less is better: 1 if nothing is lost by a step, below 1 if
        something is, negative where the neighbours lose. NaN unless the one that divides is positive.
    verdict : str
        ``plateau``, ``slope``, ``peak`` or ``unknown``; see the module.
    centre : dict or None
        Parameters of the most robust point of the table: the one whose worst among itself and its neighbours is best
        (of equals, the one with the best median, then the best value). None if no point has enough neighbours.
    centre_value, centre_worst : float
        Its metric, and the worst among itself and its neighbours; NaN without a centre.
    """

    metric: str
    at: dict[str, Any]
    value: float
    neighbours: int
    possible: int
    neighbour_median: float
    neighbour_worst: float
    neighbour_mean: float
    share_within: float
    robustness: float
    verdict: Verdict
    centre: dict[str, Any] | None
    centre_value: float
    centre_worst: float


def plateau(
    table: pl.DataFrame,
    params: Sequence[str] | None,
    metric: str,
    at: Mapping[str, Any] | None = None,
    steps: int = 1,
    tolerance: float = TOLERANCE,
) -> Plateau:
    """Judge one point of a sweep by its neighbours.

    Parameters
    ----------
    table : polars.DataFrame
        One row per combination; the order of rows does not matter.
    params : sequence of str, optional
        Parameter columns; None is those with a dot in their name.
    metric : str
        Column to judge by; see :func:`research.backtest.neighbours.direction`.
    at : mapping, optional
        The point: a value of every parameter that has more than one. Other keys are passed over, so that a row of the
        table will do. Without it the best finite value; of equals, the one with the best neighbours.
    steps : int
        How many values of a parameter up and down still are neighbours, at least 1.
    tolerance : float
        Of ``share_within``, as a fraction of the spread, at least 0.

    Raises
    ------
    InvalidInput
        As :func:`neighbourhoods` does, if ``at`` names no row, and without it if no value is finite.

    Examples
    --------
    >>> table = pl.DataFrame({"rule.a": [1, 2, 3, 4, 5], "sharpe": [0.0, 1.0, 1.1, 1.0, 0.0]})
    >>> found = plateau(table, None, "sharpe", tolerance=0.2)
    >>> found.at, found.verdict, round(found.robustness, 2)
    ({'rule.a': 3}, 'plateau', 0.91)
    """
    hoods = neighbourhoods(table, params, metric, steps, tolerance)
    names = parameters_of(table, params)
    score = direction(metric) * _column(hoods, metric)
    worst = direction(metric) * _column(hoods, "neighbour_worst")
    median = direction(metric) * _column(hoods, "neighbour_median")
    place = ranks(table, names)
    finite = np.isfinite(score)
    # A neighbourhood's worst counts the point itself; one too thin to judge is worse than any.
    floor = np.where(_is_known(hoods), np.minimum(score, worst), np.nan)
    row = _first(place, finite, score, floor, median) if at is None else _row_at(table, names, at)
    if row < 0:
        raise InvalidInput(f"table[{metric!r}]", "must have a finite value to have a best point")
    centre = _first(place, finite & ~np.isnan(floor), floor, median, score)
    judged = hoods.row(row, named=True)
    return Plateau(
        metric=metric,
        at={name: judged.pop(name) for name in names},
        value=judged.pop(metric),
        **judged,
        centre=None if centre < 0 else dict(zip(names, table.select(names).row(centre), strict=True)),
        centre_value=math.nan if centre < 0 else float(_column(hoods, metric)[centre]),
        centre_worst=math.nan if centre < 0 else float(direction(metric) * floor[centre]),
    )


def neighbourhoods(
    table: pl.DataFrame, params: Sequence[str] | None, metric: str, steps: int = 1, tolerance: float = TOLERANCE
) -> pl.DataFrame:
    """Return every point of a sweep beside its neighbours.

    Parameters
    ----------
    table, params, metric, steps, tolerance
        As :func:`plateau` takes them.

    Returns
    -------
    polars.DataFrame
        A row per row of ``table``, in its order: the parameters, the metric, and ``neighbours``, ``possible``,
        ``neighbour_median``, ``neighbour_worst``, ``neighbour_mean``, ``share_within``, ``robustness`` and
        ``verdict`` as in :class:`Plateau`.

    Raises
    ------
    InvalidInput
        If the table is empty, a column is missing or of another kind, a combination stands there twice, or ``steps``
        or ``tolerance`` is out of range.
    """
    names, values = parameters_of(table, params), metric_of(table, metric)
    if steps < 1:
        raise InvalidInput("steps", "must be at least 1", steps)
    if not 0.0 <= tolerance < math.inf:
        raise InvalidInput("tolerance", "must be at least 0 and finite", tolerance)
    if metric in names:
        raise InvalidInput("metric", "must not be a parameter", metric)
    sign = direction(metric)
    score = np.where(np.isfinite(values), sign * values, np.nan)
    beside, possible = neighbours(ranks(table, names), [is_ordered(table[name]) for name in names], steps)
    around = np.where(beside >= 0, score[beside], np.nan)
    known, worst, median, mean = _summary(around)
    spread = float(np.subtract(*np.quantile(score[~np.isnan(score)], SPREAD[::-1]))) if (score == score).any() else 0.0
    margin = np.maximum(tolerance * spread, ROUNDING * np.abs(score))
    close = (np.abs(around - score[:, None]) <= margin[:, None]).sum(axis=1)
    share = np.divide(close, known, out=np.full(known.size, np.nan), where=known > 0)
    above, below = (median, score) if sign > 0 else (-score, -median)
    robustness = np.divide(above, below, out=np.full(known.size, np.nan), where=below > 0)
    words = np.full(known.size, "slope", dtype=object)
    words[(score - median > np.maximum(PEAK_DROP * spread, margin)) | (robustness <= 0.0)] = "peak"
    words[(share >= PLATEAU_SHARE) & ~(robustness < PLATEAU_ROBUSTNESS)] = "plateau"
    hoods = table.select(names).with_columns(
        pl.Series(metric, values), neighbours=known, possible=possible, neighbour_median=sign * median,
        neighbour_worst=sign * worst, neighbour_mean=sign * mean, share_within=share, robustness=robustness,
    )  # fmt: skip
    words[np.isnan(score) | ~_is_known(hoods)] = "unknown"
    return hoods.with_columns(pl.Series("verdict", words, dtype=pl.String))


def _summary(around: FloatArray) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
    """Return count, least, median and mean of each row, NaN left out (``nanmedian`` alone takes twice the time)."""
    known = np.isfinite(around).sum(axis=1)
    if around.shape[1] == 0:
        none = np.full(known.size, np.nan)
        return known, none, none, none
    ordered = np.sort(around, axis=1)  # NaN last
    row, last = np.arange(known.size), np.maximum(known - 1, 0)
    median = 0.5 * (ordered[row, last // 2] + ordered[row, (last + 1) // 2])
    mean = np.divide(np.nansum(around, axis=1), known, out=np.full(known.size, np.nan), where=known > 0)
    return known, ordered[:, 0], median, mean


def _is_known(hoods: pl.DataFrame) -> np.ndarray:
    enough = (pl.col("neighbours") >= MIN_NEIGHBOURS) & (pl.col("neighbours") >= MIN_KNOWN_SHARE * pl.col("possible"))
    return hoods.select(enough).to_series().to_numpy()


def _first(place: IntArray, allowed: np.ndarray, *keys: FloatArray) -> int:
    """Return the allowed row with the largest keys, NaN smallest, then the least parameters; -1 if none is allowed."""
    rows = np.flatnonzero(allowed)
    for key in keys:
        if rows.size > 1:
            held = np.where(np.isnan(key[rows]), -np.inf, key[rows])
            rows = rows[held == held.max()]
    return int(rows[np.lexsort(place[rows].T[::-1])[0]]) if rows.size else -1


def _row_at(table: pl.DataFrame, names: Sequence[str], at: Mapping[str, Any]) -> int:
    here = np.ones(table.height, dtype=bool)
    for name in names:
        column = table[name]
        if name in at:
            # A list, since a literal's own type would decide the comparison otherwise (a string with a number fails).
            here &= np.array([value == at[name] for value in column.to_list()])
        elif column.n_unique() > 1:
            raise InvalidInput("at", f"must have a value of {name}", dict(at))
    found = np.flatnonzero(here)
    if found.size == 0:
        raise InvalidInput("at", "must be a row of the table", {name: at[name] for name in names if name in at})
    return int(found[0])


def _column(frame: pl.DataFrame, name: str) -> FloatArray:
    return frame[name].to_numpy()
