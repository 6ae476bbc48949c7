"""Whether the folds of a walk-forward choose alike: drift and scatter of each parameter. It optimises nothing.

Positions within a space are shares of its range, from 0 at the lowest value to 1 at the highest, by the logarithm where
the space is logarithmic. A space is stated as :meth:`research.search.Space.from_dict` takes it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray

PREFIX = "param."
# A choice this close to an end of its range counts as the end: continuous samplers seldom draw the end itself.
BOUND_SHARE = 0.01


def parameter_stability(folds: pl.DataFrame, space: Mapping[str, Mapping[str, Any]] | None = None) -> pl.DataFrame:
    """Return, for each parameter, how its choices drift and scatter over the folds of a walk-forward.

    Parameters
    ----------
    folds : DataFrame
        :attr:`WalkForwardResult.folds`: ``train_start`` and ``train_stop`` (without them windows count as apart), and
        ``param.NAME`` of each choice; fields of a struct count as parameters ``param.NAME.FIELD``. Null or NaN where a
        fold chose none; such folds are passed over.
    space : mapping, optional
        Parameter (with or without ``param.``) to ``{"low", "high"}`` with optional ``"log"`` and ``"step"``, or to
        ``{"choices"}``, which have no order even where they are numbers. A number without a space has neither a range
        nor what is measured by it.

    Returns
    -------
    DataFrame
        One row per parameter:

        ``param``, ``kind``
            Name without ``param.``, and ``number`` or ``category``.
        ``folds``, ``distinct``
            Folds with a choice, and how many different ones.
        ``commonest``, ``commonest_share``
            The most frequent choice as text (of equals the first), and its share of folds.
        ``changes``
            Share of folds whose choice is not the one of the fold before; NaN with fewer than 2.
        ``entropy``
            Of a category's choices, from 0 (always one) to 1 (all of the space as often); NaN for numbers.
        ``dispersion``
            Mean distance from the median choice as a share of the range, at most 0.5; uniform draws give 0.25.
        ``jump``
            Mean distance from one choice to the next as a share of the range; uniform draws give 0.33.
        ``at_bound``
            Share of folds at an end of the range, within 1 % of it (less than a step): the best may lie outside.
        ``trend``
            Drift along the fitted line from the first fold to the last, as a share of the range.
        ``rank_correlation``
            Spearman's, of choice and fold.
        ``p_value``, ``p_value_independent``
            Two-sided, of the trend. The first allows for training windows that share rows, the second does not: see
            Notes. NaN with fewer than 4 folds or a choice that never changes.

    Raises
    ------
    InvalidInput
        If there are no folds or no parameters, the space is malformed, or a choice lies outside it.

    Notes
    -----
    Windows of 90 days every 7 share 92 % of their days with the next, and choices made on them wander together without
    any change of the market. ``p_value`` takes the correlation of two choices to be the overlap of their training
    windows (what it is for a choice that is a mean over them): the variance of the slope and of the residuals follow
    from that matrix, and the degrees of freedom by Satterthwaite. It leaves few: 36 such folds are worth about 4
    independent windows. The independent one holds for windows apart. At the 5 % level, in 1,000 markets without any
    drift, 36 folds of 90/30/7 days: means over the window 2.8 % (the independent one: 63 %), the best of ten settings
    0.4 % (49 %), choices that have nothing to do with the window 0.0 % (5.4 %). A small ``p_value`` is a drift; a large
    one beside a small independent one is not known to be any.

    References
    ----------
    .. [1] F. E. Satterthwaite, "An Approximate Distribution of Estimates of Variance Components", Biometrics Bulletin
       2(6), 1946.

    Examples
    --------
    >>> folds = pl.DataFrame({"fold": [0, 1, 2, 3, 4], "param.length": [10, 12, 20, 25, 30]})
    >>> found = parameter_stability(folds, {"length": {"low": 10, "high": 50}}).row(0, named=True)
    >>> found["distinct"], found["at_bound"], round(found["trend"], 3), round(found["dispersion"], 3)
    (5, 0.2, 0.53, 0.165)
    """
    if folds.is_empty():
        raise InvalidInput("folds", "must have at least one row", 0)
    columns = choices_of(folds)
    if not columns:
        raise InvalidInput("folds", f"must have a column {PREFIX}NAME", folds.columns)
    stated = {name.removeprefix(PREFIX): axis for name, axis in (space or {}).items()}
    shared = _overlap(folds)
    rows = []
    for name, column in columns.items():
        axis = stated.get(name)
        held = np.array([value is not None and value == value for value in column.to_list()])
        values = column.filter(pl.Series(held)).to_list()
        is_number = column.dtype.is_numeric() and not (axis is not None and "choices" in axis)
        row: dict[str, Any] = {"param": name, "kind": "number" if is_number else "category", **_common(values)}
        if is_number:
            places = np.array(values, dtype=np.float64)
            places = places if axis is None else place_in_range(name, places, axis)
            row |= {"entropy": math.nan} | _scatter(places, axis)
            row |= _trend(places, np.flatnonzero(held).astype(np.float64), shared[np.ix_(held, held)])
        else:
            row |= {"entropy": _entropy(name, values, axis)} | dict.fromkeys(_NUMERIC, math.nan)
        rows.append(row)
    return pl.DataFrame(rows, schema=_SCHEMA)


_NUMERIC = ("dispersion", "jump", "at_bound", "trend", "rank_correlation", "p_value", "p_value_independent")
_SCHEMA = {
    "param": pl.String, "kind": pl.String, "folds": pl.Int64, "distinct": pl.Int64, "commonest": pl.String,
    "commonest_share": pl.Float64, "changes": pl.Float64, "entropy": pl.Float64, **dict.fromkeys(_NUMERIC, pl.Float64),
}  # fmt: skip


def choices_of(folds: pl.DataFrame) -> dict[str, pl.Series]:
    """Return the chosen parameters by name without ``param.``, the fields of structs one by one."""
    found: dict[str, pl.Series] = {}
    queue = [(name.removeprefix(PREFIX), folds[name]) for name in folds.columns if name.startswith(PREFIX)]
    while queue:
        name, column = queue.pop(0)
        if isinstance(column.dtype, pl.Struct):
            queue[:0] = [(f"{name}.{f.name}", column.struct.field(f.name)) for f in column.dtype.fields]
        else:
            found[name] = column
    return found


def _common(values: Sequence[Any]) -> dict[str, Any]:
    counts = {value: values.count(value) for value in values}  # in order of first choice
    most = max(counts, key=lambda value: counts[value]) if counts else None
    changes = [a != b for a, b in itertools.pairwise(values)]
    return {
        "folds": len(values), "distinct": len(counts), "commonest": None if most is None else str(most),
        "commonest_share": counts[most] / len(values) if counts else math.nan,
        "changes": float(np.mean(changes)) if changes else math.nan,
    }  # fmt: skip


def _entropy(name: str, values: Sequence[Any], axis: Mapping[str, Any] | None) -> float:
    possible = set(axis["choices"]) if axis is not None and "choices" in axis else None
    if possible is not None and not set(values) <= possible:
        unknown = sorted(set(values) - possible, key=str)[0]
        raise InvalidInput(f"{PREFIX}{name}", "must be one of the space's choices", unknown)
    if not values or (possible is not None and len(possible) == 1):
        return 0.0 if values else math.nan
    if possible is None or len(possible) < 2:
        return math.nan
    share = np.array([values.count(value) for value in dict.fromkeys(values)]) / len(values)
    return float(-(share @ np.log(share)) / math.log(len(possible))) + 0.0


def place_in_range(name: str, values: FloatArray, axis: Mapping[str, Any]) -> FloatArray:
    """Return values as shares of their range, 0 at its low end; 0 everywhere where it is a single value.

    Parameters
    ----------
    name : str
        For the error.
    values : (n,) array
        Within the range.
    axis : mapping
        ``low`` and ``high``, optional ``log``.

    Raises
    ------
    InvalidInput
        If the range is malformed or a value lies outside it.

    Examples
    --------
    >>> place_in_range("length", np.array([10.0, 20.0, 40.0]), {"low": 10, "high": 40, "log": True})
    array([0. , 0.5, 1. ])
    """
    low, high, is_log = axis.get("low", math.nan), axis.get("high", math.nan), bool(axis.get("log", False))
    is_range = isinstance(low, (int, float)) and isinstance(high, (int, float)) and low <= high
    if not is_range or (is_log and low <= 0):
        raise InvalidInput(f"space.{name}", "must have choices, or low <= high (positive on a log scale)", dict(axis))
    slack = 1e-9 * max(abs(low), abs(high))
    outside = values[(values < low - slack) | (values > high + slack)]
    if outside.size:
        raise InvalidInput(f"{PREFIX}{name}", f"must lie in its space, [{low}, {high}]", float(outside[0]))
    if low == high:
        return np.zeros(values.size)
    if is_log:
        return np.log(values / low) / math.log(high / low)
    return (values - low) / (high - low)


def _scatter(places: FloatArray, axis: Mapping[str, Any] | None) -> dict[str, float]:
    if axis is None or places.size == 0:
        return dict.fromkeys(("dispersion", "jump", "at_bound"), math.nan)
    fixed = axis["low"] == axis["high"]
    step = axis.get("step") or (1 if isinstance(axis["low"], int) and isinstance(axis["high"], int) else 0.0)
    share = 0.0 if fixed or axis.get("log") else step / (axis["high"] - axis["low"])
    margin = min(BOUND_SHARE, 0.5 * share) if share > 0.0 else BOUND_SHARE
    at_bound = (places <= margin) | (places >= 1.0 - margin)
    return {
        "dispersion": float(np.mean(np.abs(places - np.median(places)))),
        "jump": float(np.mean(np.abs(np.diff(places)))) if places.size > 1 else math.nan,
        "at_bound": math.nan if fixed else float(at_bound.mean()),
    }


def _overlap(folds: pl.DataFrame) -> FloatArray:
    """Return the rows that training windows share over the geometric mean of their lengths, 1 on the diagonal."""
    if not {"train_start", "train_stop"} <= set(folds.columns):
        return np.eye(folds.height)
    start, stop = (folds[name].to_numpy().astype(np.float64) for name in ("train_start", "train_stop"))
    shared = np.minimum.outer(stop, stop) - np.maximum.outer(start, start)
    length = stop - start
    return np.maximum(shared, 0.0) / np.sqrt(np.multiply.outer(length, length))


def _trend(places: FloatArray, at: FloatArray, shared: FloatArray) -> dict[str, float]:
    """Return the line through choices over folds, with p-values under overlapping and under separate windows."""
    n = places.size
    if n < 2:
        return dict.fromkeys(("trend", "rank_correlation", "p_value", "p_value_independent"), math.nan)
    away = at - at.mean()
    slope = float(away @ places / (away @ away))
    found = {"trend": slope * float(at[-1] - at[0]), "rank_correlation": _spearman(at, places)}
    residual = places - places.mean() - slope * away
    if n < 4 or places.min() == places.max():
        return found | {"p_value": math.nan, "p_value_independent": math.nan}
    return found | {
        "p_value": _slope_p_value(slope, away, residual, shared),
        "p_value_independent": _slope_p_value(slope, away, residual, np.eye(n)),
    }


def _slope_p_value(slope: float, away: FloatArray, residual: FloatArray, correlation: FloatArray) -> float:
    r"""Return the p-value of a least-squares slope whose errors have a known correlation R.

    With M the matrix that makes residuals, :math:`E[e'e] = \sigma^2 tr(MR)`, the slope's variance is
    :math:`\sigma^2 w'Rw` with the weights w of the slope, and the degrees are :math:`tr(MR)^2 / tr(MRMR)`.
    """
    from scipy.stats import t

    n = away.size
    weight = away / (away @ away)
    makes_residuals = np.eye(n) - 1.0 / n - np.outer(weight, away)
    spread = makes_residuals @ correlation
    trace = float(np.trace(spread))
    square = float(residual @ residual)
    if square <= 1e-24 * slope**2 * float(away @ away):  # on the line but for rounding
        return 0.0
    if trace <= 1e-9 * n:  # all on the same rows: nothing is left to tell a drift from
        return math.nan
    variance = square / trace * float(weight @ correlation @ weight)
    return float(2.0 * t.sf(abs(slope) / math.sqrt(variance), trace**2 / float(np.sum(spread * spread.T))))


def _spearman(x: FloatArray, y: FloatArray) -> float:
    """Return the correlation of mean ranks; NaN where one never changes."""
    first, second = (pl.Series(values).rank("average").to_numpy() for values in (x, y))
    if first.min() == first.max() or second.min() == second.max():
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])
