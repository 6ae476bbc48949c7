"""Tables of a report as text, once for every form it is written in: headings, cells, and which columns are numbers.

It writes neither HTML nor Markdown, and escapes nothing: that is for whoever writes a form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from research.metrics.costs import cost_share, gross_gain
from research.report import theme
from research.report.series import finite_rows, require

if TYPE_CHECKING:
    from research.report.tear_sheet import TearSheet

COSTS = ("fee", "slippage", "funding")
CAUTION = (
    "Neither the deflated Sharpe ratio nor PBO can see a leak: a strategy that reads tomorrow's prices passes both. "
    "PBO has little power besides: on noise it lies anywhere between 0.2 and 0.8, one good trial among many hardly "
    "moves it, and a high one says as well that all trials are equally good."
)
DISCLAIMER = (
    "Simulated results on past prices. They say what these rules would have done under the costs listed here, "
    "not what they will do; no profit is promised or implied."
)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text.

    Parameters
    ----------
    headings : tuple of str
        One per column.
    rows : tuple of tuple of str
        Cells, as long as the headings.
    numeric : frozenset of int
        Columns of numbers, right-aligned.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


def cell(value: Any, name: str = "") -> str:
    """Return a value as a reader sees it: numbers in their unit, times to the minute, truths as words.

    Examples
    --------
    >>> from datetime import date, datetime
    >>> cell(0.5, "win_rate"), cell(None), cell(True), cell(date(2024, 8, 1)), cell(datetime(2024, 8, 1, 12, 30))
    ('50.0 %', 'n/a', 'yes', '2024-08-01', '2024-08-01 12:30')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return theme.number(value, name)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return theme.NOT_AVAILABLE if value is None else str(value)


def frame_grid(
    frame: pl.DataFrame,
    names: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    unknown: str = theme.NOT_AVAILABLE,
) -> Grid:
    """Return a frame as a table.

    Parameters
    ----------
    frame : DataFrame
        Any.
    names : mapping of str to str, optional
        Headings in place of a column's label.
    units : mapping of str to str, optional
        Figures whose way of writing a column takes, where its own name tells no unit.
    unknown : str
        For what is null.

    Returns
    -------
    Grid
        As many rows as the frame.

    Examples
    --------
    >>> frame_grid(pl.DataFrame({"total_return": [0.1], "side": ["long"]}), {"side": "Which side"})
    Grid(headings=('Total return', 'Which side'), rows=(('10.0 %', 'long'),), numeric=frozenset({0}))
    """
    given, written = names or {}, units or {}
    unit = [written.get(c, c) for c in frame.columns]
    return Grid(
        tuple(given.get(c, theme.label(c)) for c in frame.columns),
        tuple(
            tuple(unknown if v is None else cell(v, u) for v, u in zip(row, unit, strict=True))
            for row in frame.iter_rows()
        ),
        frozenset(k for k, dtype in enumerate(frame.dtypes) if dtype.is_numeric()),
    )


def gate_grid(sheet: TearSheet) -> Grid:
    """Return the gate's checks: met or not, figure, value, interval, rule, and the reasons where one is not met."""
    source = sheet.verdict.table
    names: list[str] = [c for c in ("check", "value", "rule", "reason", "description", "figure") if c in source.columns]
    if {"low", "high"} <= set(source.columns) and source["low"].is_not_null().any():
        names.insert(names.index("rule"), "interval")
    if source["passed"].all():
        names.remove("reason")  # empty where a check was met
    rows = tuple(
        ("✓ met" if row["passed"] else "✗ not met", *(_gate_cell(name, row) for name in names))
        for row in source.iter_rows(named=True)
    )
    headings = ("", *("Interval 95 %" if n == "interval" else theme.label(n) for n in names))
    return Grid(headings, rows, frozenset(1 + k for k, n in enumerate(names) if n in ("value", "rule", "interval")))


def _gate_cell(name: str, row: Mapping[str, Any]) -> str:
    if name == "value":
        return theme.number(row["value"], row["figure"])
    if name == "interval":
        return _between(row["low"], row["high"], row["figure"])
    return "" if row[name] is None else str(row[name])


def _between(low: float | None, high: float | None, name: str) -> str:
    return "" if low is None and high is None else f"{theme.number(low, name)} … {theme.number(high, name)}"


def figures_grid(sheet: TearSheet) -> Grid:
    """Return every figure of every section."""
    keys = list(dict.fromkeys(k for values in sheet.metrics.values() for k in values))
    rows = tuple(
        (theme.label(key), *(theme.number(v[key], key) if key in v else "" for v in sheet.metrics.values()))
        for key in keys
    )
    return Grid(("Figure", *sheet.metrics), rows, frozenset(range(1, 1 + len(sheet.metrics))))


def intervals_grid(intervals: pl.DataFrame) -> Grid:
    """Return figures with the interval that holds 95 % of what resampled days or trades come to."""
    require(intervals, ("figure", "value", "low", "high"), "intervals")
    rows = tuple(
        (theme.label(name), *(theme.number(v, name) for v in values)) for name, *values in
        intervals.select("figure", "value", "low", "high").iter_rows()
    )  # fmt: skip
    return Grid(("Figure", "Value", "From", "To"), rows, frozenset((1, 2, 3)))


def selection_grid(selection: pl.DataFrame) -> Grid:
    """Return the figures of the choice with what each says and what it cannot."""
    require(selection, ("figure", "value", "says", "cannot"), "selection")
    rows = tuple(
        (theme.label(r["figure"]), theme.number(r["value"], r["figure"]), r["says"], f"cannot {r['cannot']}")
        for r in selection.iter_rows(named=True)
    )
    return Grid(("Figure", "Value", "Says", "But"), rows, frozenset((1,)))


def costs_grid(equity: Mapping[str, pl.DataFrame]) -> Grid | None:
    """Return the way from gross to net of each section that has its costs, None where none has."""
    rows = tuple(
        (name, *_cost_row(frame)) for name, frame in equity.items()
        if set(COSTS) <= set(frame.columns) and frame.height >= 2
    )  # fmt: skip
    heads = (
        "Period", "Before costs", "Fees", "Spread and slippage", "Funding", "After costs", "Costs, share of gross gain",
    )  # fmt: skip
    return Grid(heads, rows, frozenset(range(1, len(heads)))) if rows else None


def _cost_row(frame: pl.DataFrame) -> Sequence[str]:
    fee, slippage, funding = (float(frame[c].cast(pl.Float64).fill_nan(0.0).sum()) for c in COSTS)
    known = finite_rows(frame, "equity")["equity"]
    net = float(known[-1]) - float(known[0]) if known.len() else math.nan
    gross, share = gross_gain(net, fee, slippage, funding), cost_share(net, fee, slippage, funding)
    values = [theme.number(v, "pnl") for v in (gross, 0.0 - fee, 0.0 - slippage, funding, net)]
    return [*values, theme.number(share, "share")]
