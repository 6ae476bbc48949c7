"""Read bars, mark, funding and trades from CSV, Parquet and feather tables. It downloads nothing and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from research.errors import CorruptFile, InvalidInput, MisalignedBars, SchemaMismatch
from research.market.bars import KEYS, OPTIONAL, SCHEMAS, conform, epoch_ns, interval_ns
from research.market.sources.file_bytes import RawTable, collect, raw_table
from research.market.sources.file_layouts import Meaning, meaning, plain
from research.market.sources.file_times import times
from research.market.sources.funding_intervals import funding_interval_hours

_BUYS, _SELLS = ("buy", "b", "bid", "1", "+1"), ("sell", "s", "ask", "-1")


def read_bars(
    path: str | Path,
    layout: str = "auto",
    time_unit: str | None = None,
    *,
    utc_offset_hours: float | None = None,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
    interval: str | None = None,
) -> pl.DataFrame:
    """Return the bars of a file, ``ts`` (the open time) ascending.

    Parameters
    ----------
    path : path-like
        ``.csv`` (also ``.gz``, ``.zip``), ``.parquet`` or ``.feather``.
    layout : str
        ``auto``, or one of ``binance_klines``, ``bybit_metatrader4``, ``freqtrade``, ``generic``.
    time_unit : {"s", "ms", "us", "ns"}, optional
        Told by magnitude where left out; must be one for the whole column.
    utc_offset_hours : float, optional
        Clock of times written without a zone; such a file is refused without it (``bybit_metatrader4`` is known: 3).
    columns : mapping of str to str, optional
        Our column to the file's, where names do not tell: ``{"ts": "Open Time"}``.
    symbol : str, optional
        Which rows to take of a file that has a symbol column.
    interval : str, optional
        Refuse bars that do not open on this grid.

    Returns
    -------
    polars.DataFrame
        Columns of ``SCHEMAS["bars"]``; those the file does not have are null. A price written as ``NaN``, or missing
        in Parquet or feather, is NaN. A row told twice is taken once.

    Raises
    ------
    CorruptFile
        If the file is damaged, cut short, or lacks a value.
    SchemaMismatch
        If a column is missing or ambiguous, units are mixed, or a value is no number; says what was found.
    InvalidInput
        If one time has two different rows, or several symbols are in the file and none is stated.
    """
    source = Path(path)
    bars = _read("bars", source, layout, time_unit, utc_offset_hours, columns, symbol)
    return _on_grid(bars, interval, source)


def read_mark(
    path: str | Path,
    layout: str = "auto",
    time_unit: str | None = None,
    *,
    utc_offset_hours: float | None = None,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
    interval: str | None = None,
) -> pl.DataFrame:
    """Return the mark-price bars of a file; a volume column is left out. Parameters and errors as :func:`read_bars`."""
    source = Path(path)
    mark = _read("mark", source, layout, time_unit, utc_offset_hours, columns, symbol)
    return _on_grid(mark, interval, source)


def read_funding(
    path: str | Path,
    layout: str = "auto",
    time_unit: str | None = None,
    *,
    utc_offset_hours: float | None = None,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
    interval_hours: float | None = None,
) -> pl.DataFrame:
    """Return the settlements of a file; times keep the exchange's jitter of milliseconds.

    Parameters
    ----------
    path, layout, time_unit, utc_offset_hours, columns, symbol
        As in :func:`read_bars`; layouts are ``binance_funding``, ``freqtrade`` (rate in column ``open``), ``generic``.
    interval_hours : float, optional
        Interval of every row. Where left out it is the file's own column or, where it has none, told from the times:
        a row's interval is the time since the row before, but never longer than is usual around it, so that a missing
        row stays visible (:func:`~research.market.sources.funding_intervals.funding_interval_hours`).

    Raises
    ------
    InvalidInput
        If a single row is all there is and no interval is stated, or two settlements fall into one hour.
    CorruptFile, SchemaMismatch
        As in :func:`read_bars`.
    """
    source = Path(path)
    funding = _read("funding", source, layout, time_unit, utc_offset_hours, columns, symbol)
    return dated(funding, interval_hours, str(source))


def read_trades(
    path: str | Path,
    layout: str = "auto",
    time_unit: str | None = None,
    *,
    utc_offset_hours: float | None = None,
    columns: Mapping[str, str] | None = None,
    symbol: str | None = None,
) -> pl.DataFrame:
    """Return the trades of a file in order of time; trades of one time keep the order in which they happened.

    Parameters
    ----------
    path, layout, time_unit, utc_offset_hours, columns, symbol
        As in :func:`read_bars`; layouts are ``bybit_trades`` (seconds with decimals), ``bybit_spot_trades``,
        ``binance_agg_trades``, ``binance_trades``, ``generic``. A file written newest first is turned round.

    Returns
    -------
    polars.DataFrame
        ``side`` is the taker's, +1 or -1; a buyer who was the maker means that the taker sold.
    """
    return _read("trades", Path(path), layout, time_unit, utc_offset_hours, columns, symbol)


def dated(funding: pl.DataFrame, interval_hours: float | None, subject: str) -> pl.DataFrame:
    """Return settlements with ``interval_hours``: stated, the frame's own, or told from the times."""
    if interval_hours is not None:
        if not interval_hours > 0:
            raise InvalidInput("interval_hours", "must be positive", interval_hours)
        return funding.with_columns(interval_hours=pl.lit(float(interval_hours)))
    own = funding["interval_hours"]
    if not own.null_count():
        return funding
    if own.null_count() < funding.height:
        raise CorruptFile(f"{subject}: interval_hours is empty in row {own.is_null().arg_max()} but not in all")
    if funding.height == 1:
        raise InvalidInput(subject, "has a single settlement, which shows no interval: state interval_hours")
    return funding.with_columns(interval_hours=pl.Series(funding_interval_hours(epoch_ns(funding), subject)))


def ordered(frame: pl.DataFrame, kind: str, subject: str) -> pl.DataFrame:
    """Return rows in order of time, a row told twice once, refusing two different rows under one key."""
    ts = frame["ts"]
    if frame.height > 1 and ts[0] > ts[-1]:
        frame = frame.reverse()  # newest first: also turns the order within one time
    if not frame["ts"].is_sorted():
        frame = frame.sort("ts", maintain_order=True)
    keys = list(KEYS[kind])
    if not frame.select(keys).is_duplicated().any():
        return frame
    frame = frame.unique(maintain_order=True)
    twice = frame.select(keys).is_duplicated()
    if twice.any():
        row = frame.row(twice.arg_max() or 0, named=True)
        raise InvalidInput(subject, f"has two different rows of {', '.join(f'{k} {row[k]}' for k in keys)}")
    return frame


def _read(
    kind: str,
    path: Path,
    layout: str,
    time_unit: str | None,
    utc_offset_hours: float | None,
    stated: Mapping[str, str] | None,
    symbol: str | None,
) -> pl.DataFrame:
    table = raw_table(path)
    found = meaning(kind, table.columns, table.first, table.has_header, layout=layout, stated=stated, subject=str(path))
    symbols = [c for c in table.columns if plain(c) == "symbol"] if table.has_header else []
    raw = collect(table, [*_expressions(kind, found, table), *(pl.col(c).alias("_symbol") for c in symbols[:1])], path)
    raw = _of_symbol(raw, symbol, path)
    _require_values(raw, kind, found, table, path)
    zone = found.layout.utc_offset_hours if utc_offset_hours is None else utc_offset_hours
    unit = time_unit or found.layout.time_unit
    ts = times(raw["ts"], f"{path}: {found.columns['ts']}", time_unit=unit, utc_offset_hours=zone)
    frame = raw.with_columns(ts.alias("ts"))
    if kind == "funding" and "interval_hours" not in frame.columns:
        frame = frame.with_columns(interval_hours=pl.lit(None, dtype=pl.Float64))
    if kind == "trades":
        frame = frame.with_columns(_side(frame["side"], found.is_maker_flag, path))
    return ordered(conform(frame, kind, str(path)), kind, str(path))


def _expressions(kind: str, found: Meaning, table: RawTable) -> list[pl.Expr]:
    """Return the file's columns under our names, numbers as numbers."""
    expressions = []
    for ours, theirs in found.columns.items():
        column = pl.col(theirs)
        if ours in ("trade_id", "side"):
            column = column.cast(pl.String)
        elif ours != "ts":
            column = column.str.strip_chars().cast(pl.Float64) if table.is_text else column.cast(pl.Float64)
            if SCHEMAS[kind][ours] == pl.Int64:
                column = column.cast(pl.Int64)
            elif not table.is_text and kind in ("bars", "mark") and ours not in OPTIONAL.get(kind, set()):
                column = column.fill_null(float("nan"))
        expressions.append(column.alias(ours))
    return expressions


def _of_symbol(raw: pl.DataFrame, symbol: str | None, path: Path) -> pl.DataFrame:
    if "_symbol" not in raw.columns:
        return raw
    present = raw["_symbol"].unique().sort().to_list()
    if symbol is not None and symbol not in present:
        raise InvalidInput(
            f"{path}: symbol", f"must be one of those in the file: {', '.join(map(str, present[:9]))}", symbol
        )
    if symbol is None and len(present) > 1:
        raise InvalidInput(str(path), f"holds {len(present)} symbols; state symbol=, one of", present[:9])
    if symbol is not None and len(present) > 1:
        raw = raw.filter(pl.col("_symbol") == symbol)
    return raw.drop("_symbol")


def _require_values(raw: pl.DataFrame, kind: str, found: Meaning, table: RawTable, path: Path) -> None:
    optional = OPTIONAL.get(kind, set()) | ({"interval_hours"} if kind == "funding" else set())
    for ours in found.columns:
        missing = raw[ours].is_null()
        if ours not in optional and missing.any():
            row = (missing.arg_max() or 0) + 1 + (table.is_text and table.has_header)
            raise CorruptFile(
                f"{path}: column {found.columns[ours]} is empty in {'line' if table.is_text else 'row'} {row}"
            )


def _side(column: pl.Series, is_buyer_maker: bool, path: Path) -> pl.Series:
    buys, sells = (("false", "0"), ("true", "1")) if is_buyer_maker else (_BUYS, _SELLS)
    text = column.str.to_lowercase().str.strip_chars()
    side = pl.select(
        pl.when(text.is_in(buys))
        .then(pl.lit(1, pl.Int8))
        .when(text.is_in(sells))
        .then(pl.lit(-1, pl.Int8))
        .alias("side")
    )["side"]
    if side.null_count():
        row = side.is_null().arg_max() or 0
        raise SchemaMismatch(f"{path}: side of row {row}", f"must be one of {', '.join((*buys, *sells))}", column[row])
    return side


def _on_grid(bars: pl.DataFrame, interval: str | None, path: Path) -> pl.DataFrame:
    if interval is None:
        return bars
    off = epoch_ns(bars) % interval_ns(interval) != 0
    if off.any():
        row = int(off.argmax())
        raise MisalignedBars(f"{path}: ts of bar {row}", f"must open on the {interval} grid", str(bars["ts"][row]))
    return bars
