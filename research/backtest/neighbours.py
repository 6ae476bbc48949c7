"""A sweep's table read as a grid: columns checked, values ranked, and who lies beside whom; it judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray

# Metrics of which less is better. Drawdown, VaR and CVaR are negative and funding is received: more of them is better.
LESS_IS_BETTER = frozenset({
    "volatility", "downside_deviation", "ulcer_index", "longest_drawdown", "fees", "slippage", "cost_share", "turnover",
    "turnover_per_year", "interest", "max_margin_ratio", "max_drawdown_bars",
    "max_drawdown_recovery_bars", "orders_rejected", "is_ruined", "liquidations", "ambiguous_bars",
})  # fmt: skip
_UNITS = ("_quote", "_frac", "_bars", "_bps")


def direction(metric: str) -> int:
    """Return 1 where more of a metric is better and -1 where less is; a metric not known here counts as 1.

    Parameters
    ----------
    metric : str
        As :meth:`research.backtest.Result.metrics` names them; a unit's suffix does not matter. A column of one's own
        of which less is better is negated before it is handed over.

    Examples
    --------
    >>> direction("sharpe"), direction("max_drawdown"), direction("volatility"), direction("fees_quote")
    (1, 1, -1, -1)
    """
    names = {metric, *(metric.removesuffix(unit) for unit in _UNITS)}
    return -1 if names & LESS_IS_BETTER else 1


def parameters_of(table: pl.DataFrame, params: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the parameter columns of a sweep's table, checked.

    Parameters
    ----------
    table : polars.DataFrame
        One row per combination.
    params : sequence of str, optional
        Parameter columns; without it those with a dot in their name and ``latency_bars``, as a sweep
        names them.

    Raises
    ------
    InvalidInput
        If the table is empty, a column is missing, holds a null, NaN or anything but numbers, booleans and strings,
        or two rows are the same combination.
    """
    if table.is_empty():
        raise InvalidInput("table", "must have at least one row", 0)
    found = tuple(c for c in table.columns if "." in c or c == "latency_bars") if params is None else tuple(params)
    if not found:
        raise InvalidInput("params", "must name at least one column; columns are", table.columns)
    if len(set(found)) < len(found):
        raise InvalidInput("params", "must name each column once", list(found))
    for name in found:
        if name not in table.columns:
            raise InvalidInput("params", f"must name columns of the table ({', '.join(table.columns)})", name)
        column = table[name]
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)):
            raise InvalidInput(f"table[{name!r}]", "must hold numbers, booleans or strings", str(column.dtype))
        if column.null_count() or (column.dtype.is_float() and column.is_nan().any()):
            raise InvalidInput(f"table[{name!r}]", "must hold a value in every row", None)
    twice = table.select(found).is_duplicated()
    if twice.any():
        raise InvalidInput("table", "must have one row per combination", table.select(found).filter(twice).row(0))
    return found


def metric_of(table: pl.DataFrame, metric: str) -> FloatArray:
    """Return a metric's column as float64, null as NaN; refuse one that is missing or holds no numbers."""
    if metric not in table.columns:
        raise InvalidInput("metric", f"must be a column of the table ({', '.join(table.columns)})", metric)
    column = table[metric]
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise InvalidInput(f"table[{metric!r}]", "must hold numbers to be a metric", str(column.dtype))
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def is_ordered(column: pl.Series) -> bool:
    """Return whether a parameter's values have neighbours: numbers do, booleans and strings do not."""
    return column.dtype.is_numeric()


def ranks(table: pl.DataFrame, params: Sequence[str]) -> IntArray:
    """Return the place of each value among its parameter's values, from 0, shape (n, n_params).

    Examples
    --------
    >>> ranks(pl.DataFrame({"a": [50, 5, 20], "b": ["x", "y", "x"]}), ["a", "b"]).tolist()
    [[2, 0], [0, 1], [1, 0]]
    """
    columns = [table[name] for name in params]
    # A category is ordered by its text and not by when it was first seen, which another order of rows would change.
    plain = [c.cast(pl.String) if c.dtype in (pl.Categorical, pl.Enum) else c for c in columns]
    return np.column_stack([c.rank("dense").to_numpy().astype(np.int64) - 1 for c in plain])


def neighbours(place: IntArray, ordered: Sequence[bool], steps: int = 1) -> tuple[IntArray, IntArray]:
    """Return the rows beside each row: one parameter moved up or down by up to ``steps`` of its values, others equal.

    Parameters
    ----------
    place : (n, n_params) array of int64
        Of :func:`ranks`; rows are distinct, which is not checked.
    ordered : (n_params,) sequence of bool
        Which parameters have neighbours; along the others nothing moves.
    steps : int
        How far.

    Returns
    -------
    rows : (n, 2 * steps * n_ordered) array of int64
        Row numbers, -1 where the table has no such combination.
    possible : (n,) array of int64
        How many there would be if the grid were full: fewer at its edges.

    Notes
    -----
    Per parameter the rows are sorted by all others first, so that neighbours stand within ``steps`` places of each
    other: no key is formed that could overflow, and nothing is as large as the full grid. 100,000 rows of 5
    parameters take 0.05 s as a full grid of 10 values each.
    """
    n = place.shape[0]
    axes = np.flatnonzero(np.asarray(ordered, dtype=bool))
    rows = np.full((n, 2 * steps * axes.size), -1, dtype=np.int64)
    possible = np.zeros(n, dtype=np.int64)
    for k, axis in enumerate(axes):
        others = np.delete(place, axis, axis=1)
        order = np.lexsort((place[:, axis], *others.T))
        along, rest = place[order, axis], others[order]
        group = np.concatenate(([0], np.cumsum((rest[1:] != rest[:-1]).any(axis=1))))
        for apart in range(1, min(steps, n - 1) + 1):
            distance = along[apart:] - along[:-apart]
            beside = (group[apart:] == group[:-apart]) & (distance <= steps)
            below, above, far = order[:-apart][beside], order[apart:][beside], distance[beside]
            rows[below, 2 * (k * steps + far - 1)] = above
            rows[above, 2 * (k * steps + far - 1) + 1] = below
        possible += np.minimum(place[:, axis], steps) + np.minimum(along.max() - place[:, axis], steps)
    return rows, possible
