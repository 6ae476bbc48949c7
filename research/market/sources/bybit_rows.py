"""Turn the rows of Bybit's REST replies into conforming frames. It asks for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from research.errors import SourceError
from research.market.bars import NS_PER_MS, TS, conform

Decoder = Callable[[Any, str], pl.DataFrame]

KLINE = ("ts", "open", "high", "low", "close", "volume", "turnover")


def bars(rows: Sequence[Sequence[str]], subject: str) -> pl.DataFrame:
    """Return klines ``[start, open, high, low, close, volume, turnover]`` as bars."""
    return _frame(_columns(rows, KLINE, subject), "bars", subject)


def mark(rows: Sequence[Sequence[str]], subject: str) -> pl.DataFrame:
    """Return mark-price klines ``[start, open, high, low, close]``."""
    return _frame(_columns(rows, KLINE[:5], subject), "mark", subject)


def funding(rows: Sequence[Mapping[str, str]], subject: str) -> pl.DataFrame:
    """Return settlements with ``interval_hours`` NaN: a reply does not say it."""
    columns = _fields(rows, {"ts": "fundingRateTimestamp", "rate": "fundingRate"}, subject)
    columns["interval_hours"] = ["NaN"] * len(rows)
    return _frame(columns, "funding", subject)


def open_interest(period_ns: int) -> Decoder:
    """Return the decoder of open interest rows of one period.

    ``available_ts`` is ``ts + period``. Bybit does not document whether ``timestamp`` opens or closes the period a row
    sums up, nor how late it is published; a whole period later the row is known in either case, and what is joined
    as of that time cannot have seen the future.
    """
    return _periodic({"open_interest": "openInterest"}, "open_interest", period_ns)


def long_short_ratio(period_ns: int) -> Decoder:
    """Return the decoder of account ratios of one period; ``available_ts`` as in :func:`open_interest`."""
    return _periodic({"buy_ratio": "buyRatio", "sell_ratio": "sellRatio"}, "long_short_ratio", period_ns)


def _periodic(fields: dict[str, str], kind: str, period_ns: int) -> Decoder:
    def decode(rows: Sequence[Mapping[str, str]], subject: str) -> pl.DataFrame:
        columns = _fields(rows, {"ts": "timestamp", **fields}, subject)
        return _frame(columns, kind, subject, (pl.col("ts") + pl.duration(nanoseconds=period_ns)).alias("available_ts"))

    return decode


def _columns(rows: Sequence[Sequence[str]], names: Sequence[str], subject: str) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or any(not isinstance(r, list) or len(r) < len(names) for r in rows):
        raise SourceError(f"{subject}: a row of the reply has fewer than {len(names)} values")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _fields(rows: Sequence[Mapping[str, str]], fields: Mapping[str, str], subject: str) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or any(not isinstance(r, dict) or not r.keys() >= set(fields.values()) for r in rows):
        raise SourceError(f"{subject}: a row of the reply lacks one of {', '.join(fields.values())}")
    return {name: [row[field] for row in rows] for name, field in fields.items()}


def _frame(columns: dict[str, list[Any]], kind: str, subject: str, *more: pl.Expr) -> pl.DataFrame:
    """Return text columns as a conforming frame, oldest first, a row told twice once."""
    text = pl.DataFrame({name: [str(v) for v in values] for name, values in columns.items()})
    text = text.cast(pl.String)
    numbers = [pl.col(name).cast(pl.Float64) for name in columns if name != "ts"]
    time = (pl.col("ts").cast(pl.Int64) * NS_PER_MS).cast(TS)
    try:
        frame = text.select(time, *numbers)
    except pl.exceptions.InvalidOperationError as error:
        raise SourceError(f"{subject}: a value of the reply is not a number: {str(error).splitlines()[0]}") from error
    return conform(frame.with_columns(*more).unique(maintain_order=True).sort("ts"), kind, subject)
