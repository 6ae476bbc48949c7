"""Labels by the first of three barriers, and how much labels overlap. It looks forward, as all labels do."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray, kernel

TOUCHED = ("vertical", "upper", "lower")


@kernel
def first_touch(
    close: FloatArray, start: IntArray, last: IntArray, upper: FloatArray, lower: FloatArray, side: FloatArray,
    end: IntArray, touched: IntArray, earned: FloatArray,
) -> None:  # fmt: skip
    """Write where each event ends, which barrier it met and what it earned; a gap of the close meets nothing."""
    for k in range(start.shape[0]):
        entry = close[start[k]]
        end[k], touched[k], earned[k] = last[k], 0, math.nan
        for i in range(start[k] + 1, last[k] + 1):
            if math.isnan(close[i]):
                continue
            found = side[k] * (close[i] / entry - 1.0)
            earned[k] = found
            if found >= upper[k]:
                end[k], touched[k] = i, 1
                break
            if found <= -lower[k]:
                end[k], touched[k] = i, 2
                break


def triple_barrier(
    close: ArrayLike, start: ArrayLike, target: ArrayLike, *, horizon: int, profit: float = 1.0, loss: float = 1.0,
    side: ArrayLike = 1.0,
) -> pl.DataFrame:  # fmt: skip
    """Return the label of each event by the first barrier that a close meets.

    Parameters
    ----------
    close : (n,) array_like
        Closes on a complete clock; NaN where a bar is absent.
    start : (m,) array_like of int
        Rows of the events, increasing; a position would be taken at their close.
    target : (m,) array_like or float
        The unit that barriers are counted in: a simple return, positive, such as the volatility expected over the
        horizon.
    horizon : int
        Bars to the vertical barrier, at least 1.
    profit, loss : float
        Units to the upper and lower barrier; 0 leaves one out.
    side : (m,) array_like or float
        1 long, -1 short: returns are of the position.

    Returns
    -------
    DataFrame
        ``start``, ``end`` (row of the touch), ``touched`` (``upper``, ``lower``, ``vertical``), ``ret`` (simple return
        of the position there, at the last known close) and ``label``: 1 where the upper barrier was met, -1 the lower,
        0 the vertical. Events whose vertical barrier lies beyond the last row, or that no known close follows within
        the horizon, are left out: their label is not known.

    Raises
    ------
    InvalidInput
        If rows are out of range, an entry has no price, or a parameter is not as stated.

    Notes
    -----
    A barrier that a bar's high or low met but no close did is not met. ``end`` is what purging needs
    (:mod:`research.validation.purged_splits`). Another convention labels the vertical barrier by the return's sign.

    References
    ----------
    .. [1] M. López de Prado, "Advances in Financial Machine Learning", 2018, 3.4.

    Examples
    --------
    >>> found = triple_barrier([100, 104, 110.2, 111], [0], 0.05, horizon=3, profit=2.0)
    >>> found.row(0)
    (0, 2, 'upper', 0.10200000000000009, 1)
    """
    prices = np.ascontiguousarray(close, dtype=np.float64)
    rows = np.ascontiguousarray(start, dtype=np.int64)
    if horizon < 1:
        raise InvalidInput("horizon", "must be at least 1 bar", horizon)
    for name, value in (("profit", profit), ("loss", loss)):
        if not (math.isfinite(value) and value >= 0.0):
            raise InvalidInput(name, "must be at least 0", value)
    if rows.ndim != 1 or (rows.size and not (rows.min() >= 0 and rows.max() < prices.size)):
        raise InvalidInput("start", f"must be rows of the {prices.size} closes", rows.tolist()[:3])
    unit = np.broadcast_to(np.asarray(target, dtype=np.float64), rows.shape)
    sides = np.broadcast_to(np.asarray(side, dtype=np.float64), rows.shape)
    for name, is_wrong in (
        ("target", ~(np.isfinite(unit) & (unit > 0.0))),
        ("side", np.abs(sides) != 1.0),
        ("close", ~(prices[rows] > 0.0)),
    ):
        if is_wrong.any():
            k = int(np.flatnonzero(is_wrong)[0])
            rule = {"target": "must be positive", "side": "must be 1 or -1", "close": "must be positive at an event"}
            raise InvalidInput(f"{name}[{k}]", rule[name], float({"target": unit, "side": sides}.get(name, prices)[k]))
    known = rows + horizon < prices.size
    rows = rows[known]
    unit, sides = np.ascontiguousarray(unit[known]), np.ascontiguousarray(sides[known])
    upper = unit * profit if profit > 0.0 else np.full(rows.size, np.inf)
    lower = unit * loss if loss > 0.0 else np.full(rows.size, np.inf)
    end, touched, earned = np.empty_like(rows), np.empty_like(rows), np.empty(rows.size)
    first_touch(prices, rows, rows + horizon, upper, lower, sides, end, touched, earned)
    found = pl.DataFrame(
        {
            "start": rows, "end": end, "touched": pl.Series([TOUCHED[k] for k in touched], dtype=pl.String),
            "ret": earned, "label": np.array([0, 1, -1], np.int64)[touched],
        }
    )  # fmt: skip
    return found.filter(pl.col("ret").is_not_nan())


def label_uniqueness(start: ArrayLike, end: ArrayLike, n_rows: int) -> FloatArray:
    """Return how much of each label is its own: the mean of 1 / (labels alive) over the bars that it spans.

    Parameters
    ----------
    start, end : (m,) array_like of int
        First and last row that each label depends on, both included.
    n_rows : int
        Bars.

    Returns
    -------
    (m,) array
        In (0, 1]. Their mean is over labels; the mean over all cells of the indicator matrix is another number.

    Raises
    ------
    InvalidInput
        If a span ends before it begins or lies outside of the bars.

    References
    ----------
    .. [1] M. López de Prado, "Advances in Financial Machine Learning", 2018, 4.3 to 4.4.

    Examples
    --------
    >>> label_uniqueness([0, 2, 4], [2, 3, 5], 6).round(4).tolist()
    [0.8333, 0.75, 1.0]
    """
    first, last = _spans(start, end, n_rows)
    alive = _alive(first, last, n_rows)
    return _shares(first, last, np.divide(1.0, alive, out=np.zeros(n_rows), where=alive > 0.0))


def sequential_probabilities(start: ArrayLike, end: ArrayLike, n_rows: int, drawn: Sequence[int]) -> FloatArray:
    """Return the probability of each label to be drawn next, given those already drawn.

    In proportion to how unique the label would be among them.

    Parameters
    ----------
    start, end, n_rows
        As :func:`label_uniqueness` takes them.
    drawn : sequence of int
        Labels drawn so far, counted from 0, with repetitions.

    References
    ----------
    .. [1] M. López de Prado, "Advances in Financial Machine Learning", 2018, 4.5.

    Examples
    --------
    >>> sequential_probabilities([0, 2, 4], [2, 3, 5], 6, [1]).round(4).tolist()
    [0.3571, 0.2143, 0.4286]
    """
    first, last = _spans(start, end, n_rows)
    taken = np.asarray(drawn, dtype=np.int64)
    if taken.size and not (taken.min() >= 0 and taken.max() < first.size):
        raise InvalidInput("drawn", f"must be labels below {first.size}", list(drawn))
    shares = _shares(first, last, 1.0 / (1.0 + _alive(first[taken], last[taken], n_rows)))
    return shares / shares.sum()


def sequential_bootstrap(start: ArrayLike, end: ArrayLike, n_rows: int, *, draws: int, seed: int) -> IntArray:
    """Return a bootstrap sample of labels, each drawn as unlikely as it overlaps those before it.

    Parameters
    ----------
    start, end, n_rows
        As :func:`label_uniqueness` takes them.
    draws, seed : int

    Returns
    -------
    (draws,) array of int64
        Labels, counted from 0. ``draws`` times the labels' work: 1,000 draws of 1,000 labels in 0.02 s.
    """
    first, last = _spans(start, end, n_rows)
    if draws < 1 or not first.size:
        raise InvalidInput("draws", "must be at least 1, of at least one label", [draws, first.size])
    generator = np.random.default_rng(seed)
    alive, found = np.zeros(n_rows), np.empty(draws, np.int64)
    for k in range(draws):
        shares = np.cumsum(_shares(first, last, 1.0 / (1.0 + alive)))
        chosen = int(np.searchsorted(shares, generator.random() * shares[-1], side="right"))
        found[k] = min(chosen, first.size - 1)
        alive[first[found[k]] : last[found[k]] + 1] += 1.0
    return found


def _spans(start: ArrayLike, end: ArrayLike, n_rows: int) -> tuple[IntArray, IntArray]:
    first, last = np.asarray(start, dtype=np.int64), np.asarray(end, dtype=np.int64)
    if first.ndim != 1 or first.shape != last.shape:
        raise InvalidInput("end", f"must be as many as start, {first.shape}", last.shape)
    wrong = np.flatnonzero((first < 0) | (last < first) | (last >= n_rows))
    if wrong.size:
        k = int(wrong[0])
        raise InvalidInput(f"span[{k}]", f"must lie within the {n_rows} rows", [int(first[k]), int(last[k])])
    return first, last


def _alive(first: IntArray, last: IntArray, n_rows: int) -> FloatArray:
    steps = np.bincount(first, minlength=n_rows + 1) - np.bincount(last + 1, minlength=n_rows + 1)
    return np.cumsum(steps)[:n_rows].astype(np.float64)


def _shares(first: IntArray, last: IntArray, per_row: FloatArray) -> FloatArray:
    """Return the mean of ``per_row`` over each span."""
    summed = np.concatenate(([0.0], np.cumsum(per_row)))
    return (summed[last + 1] - summed[first]) / (last + 1 - first)
