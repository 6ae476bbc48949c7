"""Bybit's historical order book (JSON lines of snapshots and deltas) as rows. It rebuilds no book."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from research.errors import CorruptFile, InvalidInput
from research.market.bars import NS_PER_MS, SCHEMAS, TS, conform
from research.market.sources.file_bytes import unpacked

_LEVELS = pl.List(pl.List(pl.String))
_LINE: dict[str, pl.DataType | type[pl.DataType]] = {
    "type": pl.String,
    "ts": pl.Int64,
    "data": pl.Struct({"s": pl.String, "b": _LEVELS, "a": _LEVELS, "u": pl.Int64}),
}


def read_book(path: str | Path, symbol: str | None = None) -> pl.DataFrame:
    """Return every level of every message, in order of arrival.

    Parameters
    ----------
    path : path-like
        ``{date}_{symbol}_ob500.data.zip`` (or ``ob200``) as published, or unpacked, or ``.gz``.
    symbol : str, optional
        Refuse a file of another symbol.

    Returns
    -------
    polars.DataFrame
        Columns of ``SCHEMAS["book"]``: ``side`` +1 bid and -1 ask, ``qty`` the new size of the level, 0 where it is
        removed; ``ts`` is the time of the message. After a snapshot whatever was there before is void.

    Raises
    ------
    CorruptFile
        If the file is damaged, cut short, or a line is not such a message.
    InvalidInput
        If it is the book of another symbol.

    Notes
    -----
    A full day of an active symbol is tens of millions of rows: :func:`book_chunks` streams it.
    """
    return pl.concat([pl.DataFrame(schema=SCHEMAS["book"]), *book_chunks(path, symbol=symbol)])


def book_chunks(path: str | Path, *, symbol: str | None = None, lines: int = 20_000) -> Iterator[pl.DataFrame]:
    """Yield a book file in frames of ``lines`` messages each; errors as :func:`read_book`, when they are reached."""
    if lines < 1:
        raise InvalidInput("lines", "must be at least 1", lines)
    source, number = Path(path), 0
    with unpacked(source) as stream:
        while chunk := list(islice(stream, lines)):
            yield _levels([line for line in chunk if line.strip()], source, number, symbol)
            number += len(chunk)


def _levels(chunk: list[bytes], path: Path, number: int, symbol: str | None) -> pl.DataFrame:
    where = f"{path}, lines {number + 1} to {number + len(chunk)}"
    if not chunk:
        return pl.DataFrame(schema=SCHEMAS["book"])
    try:
        messages = pl.read_ndjson(b"".join(chunk), schema=_LINE).unnest("data")
        empty = messages.select(pl.any_horizontal(pl.all().is_null()))[:, 0]
        if empty.any() or not messages["type"].is_in(["snapshot", "delta"]).all():
            raise CorruptFile(f"{where}: not all are order book messages with type, ts and data of s, b, a, u")
        sides = [_side(messages, "b", 1), _side(messages, "a", -1)]
    except pl.exceptions.PolarsError as error:
        raise CorruptFile(f"{where}: {str(error).splitlines()[0]}") from error
    symbols = messages["s"].unique().to_list()
    if len(symbols) > 1 or (symbol is not None and symbols != [symbol]):
        raise InvalidInput(where, f"must be the book of {symbol or 'one symbol'}", symbols)
    rows = pl.concat(sides).sort("_line", maintain_order=True).drop("_line")  # bids before asks in each message
    return conform(rows, "book", str(path))


def _side(messages: pl.DataFrame, column: str, side: int) -> pl.DataFrame:
    return (
        messages.with_row_index("_line")
        .select("_line", "ts", "u", "type", level=pl.col(column))
        .explode("level")
        .drop_nulls("level")  # a message without levels on this side
        .select(
            "_line",
            (pl.col("ts") * NS_PER_MS).cast(TS),
            pl.col("u").alias("update_id"),
            (pl.col("type") == "snapshot").alias("is_snapshot"),
            pl.lit(side, dtype=pl.Int8).alias("side"),
            pl.col("level").list.get(0).cast(pl.Float64).alias("price"),
            pl.col("level").list.get(1).cast(pl.Float64).alias("qty"),
        )
    )
