"""Columns and clock of market data in memory. It reads and writes no file.

Time is UTC, int64 nanoseconds in kernels and ``Datetime("ns", "UTC")`` in frames. A bar is closed; ``ts`` is its
open time, and it became known at ``ts + interval``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import FloatArray, IntArray

TS = pl.Datetime("ns", "UTC")
NS_PER_MS = 1_000_000
NS_PER_MINUTE = 60 * 1_000 * NS_PER_MS
NS_PER_DAY = 1_440 * NS_PER_MINUTE

# Minutes of every interval that the platform stores or resamples to.
INTERVALS: dict[str, int] = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30,
    "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720, "1d": 1_440,
}  # fmt: skip

# Columns of every stored kind. All but those in OPTIONAL must be present; OPTIONAL ones are filled with null.
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "bars": {
        "ts": TS, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64,
        "volume": pl.Float64, "turnover": pl.Float64, "trade_count": pl.Int64, "taker_buy_volume": pl.Float64,
    },
    "mark": {"ts": TS, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64, "close": pl.Float64},
    "funding": {"ts": TS, "rate": pl.Float64, "interval_hours": pl.Float64},
    "open_interest": {"ts": TS, "available_ts": TS, "open_interest": pl.Float64},
    "long_short_ratio": {"ts": TS, "available_ts": TS, "buy_ratio": pl.Float64, "sell_ratio": pl.Float64},
    "trades": {
        "ts": TS, "trade_id": pl.String, "price": pl.Float64, "qty": pl.Float64, "side": pl.Int8,
    },
    "book": {
        "ts": TS, "update_id": pl.Int64, "is_snapshot": pl.Boolean, "side": pl.Int8,
        "price": pl.Float64, "qty": pl.Float64,
    },
}  # fmt: skip
OPTIONAL: dict[str, set[str]] = {"bars": {"turnover", "trade_count", "taker_buy_volume"}}
# What makes a row unique; rows that agree in it are the same row told twice.
KEYS: dict[str, tuple[str, ...]] = {
    "bars": ("ts",), "mark": ("ts",), "funding": ("ts",), "open_interest": ("ts",), "long_short_ratio": ("ts",),
    "trades": ("ts", "trade_id"), "book": ("ts", "update_id", "side", "price"),
}  # fmt: skip


def interval_ns(interval: str) -> int:
    """Return the length of a named interval in nanoseconds.

    Examples
    --------
    >>> interval_ns("5m")
    300000000000
    """
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise InvalidInput("interval", f"must be one of {', '.join(INTERVALS)}", interval)
    return INTERVALS[interval] * NS_PER_MINUTE


def conform(frame: pl.DataFrame, kind: str, subject: str = "frame") -> pl.DataFrame:
    """Return ``frame`` with exactly the columns, order and types of a kind.

    Nothing is repaired: a float time, a naive time or text in a number column is refused.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns beyond the kind's are refused too, so that a misspelt one is not lost.
    kind : str
        A key of :data:`SCHEMAS`.
    subject : str
        What the error names.

    Raises
    ------
    SchemaMismatch
        If a column is missing or unknown, or has a type that does not convert without loss.
    """
    if kind not in SCHEMAS:
        raise InvalidInput("kind", f"must be one of {', '.join(SCHEMAS)}", kind)
    schema, optional = SCHEMAS[kind], OPTIONAL.get(kind, set())
    missing = [c for c in schema if c not in frame.columns and c not in optional]
    if missing:
        raise SchemaMismatch(f"{subject}.{missing[0]}", f"is required in {kind}; columns are", frame.columns)
    unknown = [c for c in frame.columns if c not in schema]
    if unknown:
        raise SchemaMismatch(f"{subject}.{unknown[0]}", f"is not a column of {kind} ({', '.join(schema)})")
    columns = []
    for name, dtype in schema.items():
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
            continue
        have = frame.schema[name]
        if name in ("ts", "available_ts"):
            if not (isinstance(have, pl.Datetime) and have.time_zone == "UTC"):
                raise SchemaMismatch(f"{subject}.{name}", "must be a UTC datetime", str(have))
        elif _is_other(have, dtype):
            raise SchemaMismatch(f"{subject}.{name}", f"must be {dtype}", str(have))
        elif dtype in (pl.Int64, pl.Int8) and have.is_float():  # a cast would cut the fraction off silently
            broken = (frame[name] != frame[name].floor()).arg_true()
            if broken.len():
                raise SchemaMismatch(f"{subject}.{name}[{broken[0]}]", "must be whole", frame[name][int(broken[0])])
        columns.append(pl.col(name).cast(dtype))
    try:
        return frame.select(columns)
    except pl.exceptions.InvalidOperationError as error:
        raise SchemaMismatch(subject, f"does not convert to {kind}: {error}") from error


def _is_other(have: pl.DataType, dtype: pl.DataType | type[pl.DataType]) -> bool:
    """Tell whether a cast would make text, truth or time of something else, or the reverse."""
    if have == pl.String or dtype == pl.String:
        return have != dtype and not (dtype == pl.String and have.is_integer()) and have != pl.Null
    return have.is_temporal() or ((dtype == pl.Boolean) != (have == pl.Boolean) and have != pl.Null)


def require_clock(ts: IntArray, step_ns: int, subject: str = "bars") -> None:
    """Refuse bar times that are not a complete, increasing grid.

    Raises
    ------
    MisalignedBars
        If a time is off the grid of ``step_ns`` or the next one is not exactly one step later.
    """
    if ts.size and ts[0] % step_ns:
        raise MisalignedBars(f"{subject}.ts[0]", f"must be a multiple of {step_ns} ns", int(ts[0]))
    wrong = np.flatnonzero(np.diff(ts) != step_ns)
    if wrong.size:
        i = int(wrong[0])
        rule = f"must be {step_ns} ns after the bar before it (use research.market.on_clock to mark gaps as NaN)"
        raise MisalignedBars(f"{subject}.ts[{i + 1}]", rule, int(ts[i + 1] - ts[i]))


def on_clock(bars: pl.DataFrame, interval: str, start_ns: int | None = None, end_ns: int | None = None) -> pl.DataFrame:
    """Return ``bars`` on a complete grid, absent bars as NaN rows.

    Parameters
    ----------
    bars : polars.DataFrame
        Strictly increasing ``ts`` (UTC) on the grid; other columns numeric.
    interval : str
        Grid step, a key of :data:`INTERVALS`.
    start_ns, end_ns : int, optional
        First grid time and the one after the last; default to the bars' own.

    Returns
    -------
    polars.DataFrame
        One row per grid time, float columns NaN and others null where a bar is absent. Never filled forward.
    """
    step = interval_ns(interval)
    if bars.is_empty() and (start_ns is None or end_ns is None):
        return bars
    kind = bars.schema.get("ts")
    if not (isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"):
        raise SchemaMismatch("bars.ts", "must be a UTC datetime", str(kind))
    if bars["ts"].null_count():
        raise MisalignedBars("bars.ts", "must have no null", bars["ts"].null_count())
    bars = bars.with_columns(pl.col("ts").cast(TS))
    ts = epoch_ns(bars)
    if ts.size and ((ts % step).any() or (np.diff(ts) <= 0).any()):
        bad = int(np.flatnonzero((ts % step != 0) | np.concatenate(([False], np.diff(ts) <= 0)))[0])
        raise MisalignedBars(
            f"bars.ts[{bad}]", f"must lie on the {interval} grid, later than the bar before", int(ts[bad])
        )
    first = int(ts[0]) if start_ns is None else start_ns
    last = int(ts[-1]) + step if end_ns is None else end_ns
    grid = pl.DataFrame({"ts": np.arange(first, last, step, dtype=np.int64)}).with_columns(pl.col("ts").cast(TS))
    joined = grid.join(bars, on="ts", how="left", maintain_order="left")
    return joined.with_columns(pl.col(pl.Float64, pl.Float32).fill_null(float("nan")))


def blocks_on_clock(blocks: Iterable[pl.DataFrame], interval: str) -> Iterator[pl.DataFrame]:
    """Yield blocks of bars that follow one another as :func:`on_clock` would place them all at once.

    Parameters
    ----------
    blocks : iterable of polars.DataFrame
        As :meth:`research.market.Lake.blocks` gives them; bars may be absent within and between them.
    interval : str
        Grid step, a key of :data:`INTERVALS`.
    """
    step = interval_ns(interval)
    expected: int | None = None
    for block in blocks:
        if block.is_empty():
            continue
        first = int(epoch_ns(block.head(1))[0])
        if expected is not None and first < expected:
            raise MisalignedBars("blocks", "must follow one another; the next begins before the end of the last", first)
        yield on_clock(block, interval, start_ns=expected)
        expected = int(epoch_ns(block.tail(1))[0]) + step


def epoch_ns(frame: pl.DataFrame, column: str = "ts") -> IntArray:
    """Return a time column as int64 nanoseconds since the epoch, in an array of its own."""
    series = frame[column]
    if series.dtype == TS and not series.null_count():
        return np.array(series.to_numpy().view(np.int64))  # a cast costs three queries: 0.2 ms of 65,000 rows, not 0.02
    return series.cast(TS).to_physical().to_numpy(writable=True)


def arrays(frame: pl.DataFrame, names: Sequence[str]) -> list[FloatArray]:
    """Return columns as contiguous, writable float64 arrays, null as NaN.

    Writable, because to Numba a read-only array is another type: every kernel would be compiled twice.

    Raises
    ------
    SchemaMismatch
        If a column is absent or not numeric.
    """
    found = []
    for name in names:
        if name not in frame.columns:
            raise SchemaMismatch(f"frame.{name}", "is required; columns are", frame.columns)
        if not frame.schema[name].is_numeric():
            raise SchemaMismatch(f"frame.{name}", "must be numeric", str(frame.schema[name]))
        series = frame[name]
        if series.dtype == pl.Float64 and not series.null_count():  # as above: no query where nothing is to be changed
            found.append(np.array(series.to_numpy()))
        else:
            values = series.cast(pl.Float64).fill_null(float("nan")).to_numpy(writable=True)
            found.append(np.ascontiguousarray(values))
    return found


def in_place(series: pl.Series) -> FloatArray:
    """Return the values of a column where they lie, as an array that Numba takes for writable.

    To Numba a read-only array is another type, and every kernel would be compiled twice; a copy of every column would
    be as large as the table. Kernels do not write into their inputs: that is a law, tested for each of them. The array
    keeps the series alive.
    """
    view: FloatArray = series.to_numpy(allow_copy=False)
    if view.flags.writeable or not view.size:
        return np.ascontiguousarray(view) if view.size else np.empty(0)
    block: Any = (ctypes.c_double * view.size).from_address(view.__array_interface__["data"][0])
    block.owner = series
    return np.frombuffer(block, dtype=np.float64)


def read_in_place(frame: pl.DataFrame, names: Sequence[str]) -> list[FloatArray]:
    """Return columns as float64 arrays, null as NaN, where they lie if they are of that type without nulls.

    The arrays must not be written to.

    Raises
    ------
    SchemaMismatch
        If a column is absent or not numeric.
    """
    found = []
    for name in names:
        if name not in frame.columns:
            raise SchemaMismatch(f"frame.{name}", "is required; columns are", frame.columns)
        series = frame[name]
        if series.dtype == pl.Float64 and series.n_chunks() == 1 and not series.null_count():
            found.append(in_place(series))
        else:
            found += arrays(frame, [name])
    return found
