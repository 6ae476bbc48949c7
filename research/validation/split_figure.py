"""Draw what each split does with each row: train, test, purged, under embargo. It makes no split.

Told apart by hatching too, so that the figure reads in black and white.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import InvalidInput
from research.validation.label_intervals import ROLES
from research.validation.purged_splits import CombinatorialPurgedKFold, PurgedKFold
from research.validation.splits import Fold

if TYPE_CHECKING:
    import plotly.graph_objects as go

Splits = Sequence[Fold] | Sequence[tuple[Any, Any]] | PurgedKFold | CombinatorialPurgedKFold
TESTED_AGAIN = "test (not stitched)"
DRAWN = ("train", "purged", "embargo", "test", TESTED_AGAIN)
INK, GREY = "#1f2933", "#7b8794"
# Colour, background, hatch: light, dark and three textures are told apart in greyscale.
_LOOKS = {
    "train": ("#c3ccd5", "#c3ccd5", ""), "test": ("#0072B2", "#0072B2", ""), "purged": ("#8f3600", "#ffffff", "/"),
    "embargo": ("#6b4e00", "#ffe9b8", "x"), TESTED_AGAIN: ("#0072B2", "#d6e8f3", "."),
}  # fmt: skip
MAX_SPLITS = 60  # more rows of bars do not fit on a page
# Columns that a printed page shows. Where one covers several rows the first of these that is among them is drawn, so
# that a purge of ten rows in a million is seen; where purge and embargo share a column, the embargo.
COLUMNS = 1_200
_CLAIMS = ("embargo", "purged", "test", TESTED_AGAIN, "train")
_NONE = -1


def split_segments(splits: Splits, n_rows: int | None = None, purge: int | None = None) -> pl.DataFrame:
    """Return the stretches of rows that play one part in a split.

    Parameters
    ----------
    splits : sequence of Fold, sequence of (train, test) arrays, PurgedKFold or CombinatorialPurgedKFold
        Of pairs of arrays, what is in neither is left out: whether it was purged is not known.
    n_rows : int, optional
        Rows in all; for pairs without it the last row that one of them uses, and not read otherwise.
    purge : int, optional
        Of walk-forward folds, the first rows of the gap between training and test that are purged, the others being
        the embargo; without it all are.

    Returns
    -------
    DataFrame
        ``split`` (from 0), ``role`` (``train``, ``purged``, ``embargo``, ``test`` or ``test (not stitched)``: later
        folds give those rows to the out-of-sample series), ``start`` and ``stop`` (half-open); by split, then row.

    Raises
    ------
    InvalidInput
        If there is no split, or a row lies outside ``n_rows``.

    Examples
    --------
    >>> splitter = PurgedKFold(2, embargo=1, label_end=np.arange(8) + 1)
    >>> split_segments(splitter).rows()[:4]
    [(0, 'test', 0, 4), (0, 'purged', 4, 5), (0, 'embargo', 5, 6), (0, 'train', 6, 8)]
    """
    rows = [(i, *segment) for i, segments in enumerate(_each(splits, n_rows, purge)) for segment in segments]
    if not rows:
        raise InvalidInput("splits", "must hold at least one split", 0)
    return _frame(rows)


def split_figure(
    splits: Splits,
    n_rows: int | None = None,
    purge: int | None = None,
    ts: pl.Series | None = None,
    title: str = "Splits",
    max_splits: int = MAX_SPLITS,
) -> go.Figure:
    """Draw one bar per split, its stretches told apart by colour and hatching.

    Parameters
    ----------
    splits, n_rows, purge
        As :func:`split_segments` takes them.
    ts : Series of datetimes, optional
        Time of each row, ascending: the axis then is time.
    title : str
        Of the figure; how many splits were left out is added.
    max_splits : int
        Splits drawn, the first ones.

    Returns
    -------
    plotly.graph_objects.Figure
        One trace per role that occurs. Of more than 1,200 rows, edges are drawn to a 1,200th of them, and nothing
        narrower than that: :func:`split_segments` has the rows.

    Raises
    ------
    InvalidInput
        As :func:`split_segments` does, if ``max_splits`` is below 1, or ``ts`` has fewer rows than the splits.

    Examples
    --------
    >>> from research.validation.splits import walk_forward_folds
    >>> figure = split_figure(walk_forward_folds(365, train=90, test=30, step=7, purge=2))
    >>> [trace.name for trace in figure.data]
    ['train', 'purged', 'test', 'test (not stitched)']
    """
    import plotly.graph_objects as go

    if max_splits < 1:
        raise InvalidInput("max_splits", "must be at least 1", max_splits)
    total = splits.get_n_splits() if isinstance(splits, (PurgedKFold, CombinatorialPurgedKFold)) else len(splits)
    parts = list(islice(_each(splits, n_rows, purge), max_splits))
    if not parts:
        raise InvalidInput("splits", "must hold at least one split", 0)
    width = max(stop for part in parts for _, _, stop in part)
    rows = [(i, *segment) for i, part in enumerate(parts) for segment in _coarse(part, width)]
    table = _frame(rows)
    if ts is not None and len(ts) < width:
        raise InvalidInput("ts", f"must have a time for each of {width} rows", len(ts))
    figure = go.Figure()
    for role in DRAWN:
        of_role = table.filter(pl.col("role") == role)
        if of_role.height:
            figure.add_trace(_bars(of_role, role, ts))
    name = "fold" if isinstance(splits, Sequence) and isinstance(splits[0], Fold) else "split"
    told = f"{title}: first {len(parts)} of {total:,}" if total > len(parts) else title
    figure.update_layout(
        template="plotly_white", title=told, barmode="overlay", bargap=0.25, height=150 + max(16 * len(parts), 120),
        margin={"l": 60, "r": 30, "t": 90, "b": 60}, font={"color": INK, "size": 13},
        legend={"orientation": "h", "x": 0.0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
    )  # fmt: skip
    dense = 1 if len(parts) <= 25 else 5
    figure.update_yaxes(title=name, autorange="reversed", showgrid=False, zeroline=False, dtick=dense, tick0=0)
    figure.update_xaxes(title="time (UTC)" if ts is not None else "row", zeroline=False)
    if ts is not None:
        figure.update_xaxes(type="date")
    return figure


def _bars(table: pl.DataFrame, role: str, ts: pl.Series | None) -> go.Bar:
    import plotly.graph_objects as go

    start, stop = table["start"].to_numpy(), table["stop"].to_numpy()
    base, length = start, stop - start
    hover = f"%{{y}}: {role}, rows %{{customdata[0]}} to %{{customdata[1]}}<extra></extra>"
    if ts is not None:
        stamps = ts.cast(pl.Datetime("ms")).to_numpy()
        # A stretch ends where the next row begins; after the last row, one step on.
        step = stamps[-1] - stamps[-2] if stamps.size > 1 else np.timedelta64(1, "ms")
        edges = np.append(stamps, stamps[-1] + step)
        base, length = edges[start], (edges[stop] - edges[start]).astype(np.int64)  # plotly counts lengths in ms
    front, back, hatch = _LOOKS[role]
    marker = {
        "color": front, "line": {"color": GREY, "width": 0.5},
        "pattern": {"shape": hatch, "fgcolor": front, "bgcolor": back, "size": 5, "solidity": 0.5},
    }  # fmt: skip
    return go.Bar(
        y=table["split"].to_numpy(), base=base, x=length, orientation="h", name=role, marker=marker,
        customdata=np.column_stack((start, stop - 1)), hovertemplate=hover,
    )  # fmt: skip


def _each(splits: Splits, n_rows: int | None, purge: int | None) -> Iterator[list[tuple[str, int, int]]]:
    """Yield the stretches of each split."""
    if isinstance(splits, (PurgedKFold, CombinatorialPurgedKFold)):
        for roles in splits.roles():
            yield _stretches(roles, ROLES)
        return
    for split in splits:
        if isinstance(split, Fold):
            yield _fold_stretches(split, purge)
            continue
        train, test = (np.asarray(rows, dtype=np.int64) for rows in split)
        last = max(int(rows.max(initial=-1)) for rows in (train, test))
        size = last + 1 if n_rows is None else n_rows
        if last >= size or min(int(rows.min(initial=0)) for rows in (train, test)) < 0:
            raise InvalidInput("splits", f"must use rows in [0, {size})", last)
        roles = np.full(size, _NONE, dtype=np.int8)
        roles[train], roles[test] = ROLES.index("train"), ROLES.index("test")
        yield _stretches(roles, ROLES)


def _fold_stretches(fold: Fold, purge: int | None) -> list[tuple[str, int, int]]:
    gap = fold.test_start - fold.train_stop
    purged_to = fold.train_stop + (gap if purge is None else min(max(purge, 0), gap))
    stretches = [
        ("train", fold.train_start, fold.train_stop), ("purged", fold.train_stop, purged_to),
        ("embargo", purged_to, fold.test_start), ("test", fold.test_start, fold.stitch_stop),
        (TESTED_AGAIN, fold.stitch_stop, fold.test_stop),
    ]  # fmt: skip
    return [(role, start, stop) for role, start, stop in stretches if stop > start]


def _stretches(codes: NDArray[np.int8], names: Sequence[str]) -> list[tuple[str, int, int]]:
    edges = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1, [codes.size])).tolist()
    return [(names[codes[start]], start, stop) for start, stop in pairwise(edges) if codes[start] != _NONE]


def _coarse(stretches: list[tuple[str, int, int]], width: int) -> list[tuple[str, int, int]]:
    """Return stretches at the resolution of a page: unchanged where rows are few."""
    if width <= COLUMNS:
        return stretches
    edges = (np.arange(COLUMNS + 1, dtype=np.int64) * width) // COLUMNS
    columns = np.full(COLUMNS, _NONE, dtype=np.int8)
    for code in range(len(_CLAIMS) - 1, -1, -1):  # the strongest claim last, over the others
        for role, start, stop in stretches:
            if role == _CLAIMS[code]:
                first, last = np.searchsorted(edges, (start, stop - 1), side="right") - 1
                columns[first : last + 1] = code
    return [(role, int(edges[start]), int(edges[stop])) for role, start, stop in _stretches(columns, _CLAIMS)]


def _frame(rows: list[tuple[int, str, int, int]]) -> pl.DataFrame:
    schema = {"split": pl.Int64, "role": pl.String, "start": pl.Int64, "stop": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
