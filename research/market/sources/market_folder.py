"""Read a folder of plain Parquet files, ``{venue}/{market}/{symbol}/{interval}.parquet``. It is not the lake.

::

    folder/bybit/linear/SOLUSDT/5m.parquet        ts, open, high, low, close, volume
    folder/bybit/linear/SOLUSDT/5m_flow.parquet   ts, quote_volume, trade_count, taker_buy_volume (where there is one)
    folder/bybit/linear/SOLUSDT/mark_4h.parquet   ts, open, high, low, close
    folder/bybit/linear/SOLUSDT/funding.parquet   ts, rate
    folder/bybit/linear/SOLUSDT/trades_20230404.parquet, book_delta_20241201.parquet
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from research.errors import CorruptFile, InvalidInput, NotInLake
from research.market.bars import SCHEMAS, TS, conform, interval_ns
from research.market.sources.file_tables import ordered, read_bars, read_funding, read_mark, read_trades

KINDS = ("bars", "mark", "funding", "trades", "book")


def read_market_folder(
    folder: str | Path, venue: str, market: str, symbol: str, kind: str, interval: str | None = None
) -> pl.DataFrame:
    """Return one series of such a folder as a conforming frame.

    Parameters
    ----------
    folder : path-like
        Holds the venues.
    venue, market, symbol : str
        As the folders are called.
    kind : {"bars", "mark", "funding", "trades", "book"}
        Trades and book join the files of all days.
    interval : str, optional
        Required for bars and mark, refused for the others.

    Returns
    -------
    polars.DataFrame
        Times keep the exchange's jitter of milliseconds. Funding's ``interval_hours`` is told from the times
        (:func:`~research.market.sources.funding_intervals.funding_interval_hours`).

    Raises
    ------
    NotInLake
        If there is no such file; says what there is.
    CorruptFile, SchemaMismatch
        If a file cannot be read or has other columns.
    """
    if kind not in KINDS:
        raise InvalidInput("kind", f"must be one of {', '.join(KINDS)}", kind)
    if kind in ("bars", "mark"):
        interval_ns(str(interval))
    elif interval is not None:
        raise InvalidInput("interval", f"must be left out for {kind}", interval)
    place = Path(folder) / venue / market / symbol
    if kind == "bars":
        bars = read_bars(_one(place, f"{interval}.parquet"), interval=interval)
        return _with_flow(bars, place / f"{interval}_flow.parquet")
    if kind == "mark":
        return read_mark(_one(place, f"mark_{interval}.parquet"), interval=interval)
    if kind == "funding":
        return read_funding(_one(place, "funding.parquet"))
    if kind == "trades":
        days = [read_trades(path, columns={"ts": "ts"}) for path in _all(place, "trades_*.parquet")]
    else:
        days = [_book(path) for path in _all(place, "book_delta_*.parquet")]
    return ordered(pl.concat([pl.DataFrame(schema=SCHEMAS[kind]), *days]), kind, str(place))


def _one(place: Path, name: str) -> Path:
    return _all(place, name)[0]


def _all(place: Path, pattern: str) -> list[Path]:
    found = sorted(place.glob(pattern))
    if not found:
        there = ", ".join(sorted(p.name for p in place.glob("*.parquet"))) or "no Parquet file"
        raise NotInLake(f"{place} holds no {pattern}; it holds {there}")
    return found


def _with_flow(bars: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return bars with turnover, trade count and taker volume from the file beside them, where there is one."""
    if not path.is_file():
        return bars
    flow = _parquet(path, ["ts", "quote_volume", "trade_count", "taker_buy_volume"])
    flow = flow.rename({"quote_volume": "turnover"}).with_columns(pl.col("ts").cast(TS))
    plain = bars.drop("turnover", "trade_count", "taker_buy_volume")
    return conform(plain.join(flow, on="ts", how="left", maintain_order="left", validate="1:1"), "bars", str(path))


def _book(path: Path) -> pl.DataFrame:
    names = pl.read_parquet_schema(path) if path.is_file() else {}
    update = "update_id" if "update_id" in names else "seq_last"
    raw = _parquet(path, ["ts", update, "is_snapshot", "side", "price", "qty"]).rename({update: "update_id"})
    side = pl.col("side").replace_strict({"bid": 1, "ask": -1}, return_dtype=pl.Int8)
    return conform(raw.with_columns(side), "book", str(path))


def _parquet(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
