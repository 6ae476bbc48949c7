"""One table of all that was known at the close of each bar, in chunks. It computes no feature and reads no file.

Bars of other prices, symbols and event streams are joined where they have the same open time: a bar that is absent
there is NaN, never the one before. Dated rows (funding, open interest, ratios, context series) are joined as of the
time at which they were *available*: the newest row not later than the close of the bar.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.features.inputs import column_input
from research.kernel import FloatArray, IntArray
from research.market.bars import INTERVALS, NS_PER_MINUTE, TS, epoch_ns, interval_ns, require_clock

_MAGIC = b"assembl1"
PRICES = ("mark", "index", "spot", "future")
_ROWS: dict[str, tuple[str, dict[str, str]]] = {  # what is dated: its available time, and the columns it fills
    "funding": ("ts", {"rate": "funding_rate", "interval_hours": "funding_interval"}),
    "open_interest": ("available_ts", {"open_interest": "open_interest"}),
    "long_short_ratio": ("available_ts", {"buy_ratio": "buy_ratio", "sell_ratio": "sell_ratio"}),
}
_SERIES = ("available_ts", {"value": ""})
_BAR_PRICES = ("open", "high", "low", "close")
_TELLING = 9  # gaps of which one is expected to be a single step, were the bars of this interval
_HELD_BY_BARS = ("volume", "turnover", "trade_count", "taker_buy_volume")


class Assembler:
    """Join, chunk by chunk, what features read besides bars.

    Parameters
    ----------
    interval : str
        Of the bars, a key of ``research.market.bars.INTERVALS``.
    max_age : mapping of str to str, optional
        By source (``"funding"``, ``"open_interest"``, ``"long_short_ratio"`` or the name of a series) the interval
        after which its newest row no longer counts: older ones are NaN. Without it a row holds until the next.

    Notes
    -----
    Any split of the same bars and rows into pushes gives the same table, as long as bars are pushed with the bars
    beside which they stand, and a dated row no later than the first bar at whose close it was available: what live
    knows when a bar closes. A dated row that comes later counts from the next push on. Of the dated rows that were
    available the one of the latest event (``ts``) holds: a late correction of an older one changes nothing.
    """

    __slots__ = ("_interval", "_known", "_last_ns", "_max_age", "_step_ns")

    def __init__(self, interval: str, max_age: Mapping[str, str] | None = None) -> None:
        self._interval = interval
        self._step_ns = interval_ns(interval)
        self._max_age: dict[str, int] = {}
        for name, age in (max_age or {}).items():
            if not isinstance(age, str) or age not in INTERVALS:
                raise InvalidInput(f"max_age.{name}", f"must be one of {', '.join(INTERVALS)}", age)
            self._max_age[name] = interval_ns(age)
        self._last_ns: int | None = None
        self._known: dict[str, pl.DataFrame] = {}  # by source: the row that holds, and those not available yet

    def push(
        self,
        bars: pl.DataFrame,
        *,
        prices: Mapping[str, pl.DataFrame] | None = None,
        flows: Mapping[str, pl.DataFrame] | None = None,
        symbols: Mapping[str, pl.DataFrame] | None = None,
        funding: pl.DataFrame | None = None,
        open_interest: pl.DataFrame | None = None,
        long_short_ratio: pl.DataFrame | None = None,
        series: Mapping[str, pl.DataFrame] | None = None,
        future_expiry_ns: int | None = None,
    ) -> pl.DataFrame:
        """Return the next bars with everything known at their closes.

        Parameters
        ----------
        bars : polars.DataFrame
            Of the traded symbol, on the complete clock, going on where the last push ended.
        prices : mapping of str to polars.DataFrame
            Bars of ``"mark"``, ``"index"``, ``"spot"`` or ``"future"``: their closes fill the column of that name.
        flows : mapping of str to polars.DataFrame
            Per-bar columns of trades, book and liquidations (``research.market.trade_bars`` and its neighbours), under
            any names. What the bars have themselves is kept; a null of theirs is filled; prices are not taken.
        symbols : mapping of str to polars.DataFrame
            Bars of other symbols: columns ``SYMBOL.close`` and so on.
        funding, open_interest, long_short_ratio : polars.DataFrame, optional
            Rows as the lake stores them.
        series : mapping of str to polars.DataFrame
            Context series: ``available_ts`` and ``value``; columns ``NAME`` and ``NAME.age`` in minutes.
        future_expiry_ns : int, optional
            Expiry of the dated future, ns UTC: fills ``future_expiry``.

        Raises
        ------
        MisalignedBars
            If the bars leave the clock, or bars that are joined to them are of another interval.
        SchemaMismatch
            If a table lacks a column, or has another type.
        InvalidInput
            If a name is unknown or two sources fill one column.
        """
        ts = _times(bars, "bars")
        require_clock(ts, self._step_ns)
        if ts.size and self._last_ns is not None and int(ts[0]) != self._last_ns + self._step_ns:
            rule = f"must be {self._last_ns + self._step_ns}, one {self._interval} after the bar before"
            raise MisalignedBars("bars.ts[0]", rule, int(ts[0]))
        table = bars
        step = self._step_ns
        for name, frame in _named(prices, "prices"):
            if name not in PRICES:
                raise InvalidInput("prices", f"must be named {', '.join(PRICES)}", name)
            table = _joined(table, _columns(frame, f"prices.{name}", {"close": name}, step))
        for name, frame in _named(flows, "flows"):
            found = {c: c for c, kind in frame.schema.items() if kind.is_numeric() and c not in _BAR_PRICES}
            table = _filled(table, _columns(frame, f"flows.{name}", found, step))
        for symbol, frame in _named(symbols, "symbols"):
            found = {c: f"{symbol}.{c}" for c in frame.columns if column_input(c) is not None and c != "ts"}
            table = _joined(table, _columns(frame, f"symbols.{symbol}", found, step))
        closes = ts + self._step_ns
        if future_expiry_ns is not None:
            if (
                isinstance(future_expiry_ns, bool)
                or not isinstance(future_expiry_ns, int)
                or abs(future_expiry_ns) >= 2**62
            ):
                raise InvalidInput(
                    "future_expiry_ns", "must be a time in nanoseconds since the epoch", future_expiry_ns
                )
            minutes = np.maximum((future_expiry_ns - closes) / NS_PER_MINUTE, 0.0)
            table = table.with_columns(pl.Series("future_expiry", minutes))
        known = dict(self._known)
        given_series = dict(_named(series, "series"))
        for name in self._max_age:
            if name not in (*_ROWS, *given_series) and f"series.{name}" not in known:
                raise InvalidInput(f"max_age.{name}", "must name a source of dated rows", name)
        dated = {"funding": funding, "open_interest": open_interest, "long_short_ratio": long_short_ratio}
        for name, (available, columns) in _ROWS.items():
            if dated[name] is not None or name in known:
                values, age, known[name] = self._as_of(name, dated[name], available, list(columns), closes)
                if name == "funding":
                    values["funding_age"] = age
                table = _with_arrays(table, {columns.get(column, column): values[column] for column in values})
        for name in dict.fromkeys([*given_series, *(key[7:] for key in known if key.startswith("series."))]):
            key = f"series.{name}"
            values, age, known[key] = self._as_of(key, given_series.get(name), _SERIES[0], ["value"], closes)
            table = _with_arrays(table, {name: values["value"], f"{name}.age": age})
        self._known = known
        if ts.size:
            self._last_ns = int(ts[-1])
        return table

    def snapshot(self) -> bytes:
        """Return all that is remembered between pushes, with a checksum."""
        sources = {name: [frame.columns, frame.height] for name, frame in self._known.items()}
        told = json.dumps(
            {"step_ns": self._step_ns, "max_age": self._max_age, "last_ns": self._last_ns, "sources": sources}
        ).encode()
        columns = []
        for frame in self._known.values():
            columns += [frame[name].to_numpy().astype("<i8") for name in frame.columns[:2]]
            columns += [frame[name].to_numpy().astype("<f8") for name in frame.columns[2:]]
        body = struct.pack("<I", len(told)) + told + b"".join(column.tobytes() for column in columns)
        return _MAGIC + struct.pack("<I", zlib.crc32(body)) + body

    def restore(self, blob: bytes) -> None:
        """Become the assembler that :meth:`snapshot` was taken of.

        Raises
        ------
        InvalidInput
            If the bytes are not a whole snapshot of an assembler of this interval; it is then as it was.
        """
        start = len(_MAGIC) + 8
        if not isinstance(blob, bytes) or not blob.startswith(_MAGIC) or len(blob) < start:
            received = blob[: len(_MAGIC)] if isinstance(blob, bytes) else type(blob).__name__
            raise InvalidInput("snapshot", "must begin with the header of an assembler", received)
        if struct.unpack_from("<I", blob, len(_MAGIC))[0] != zlib.crc32(blob[len(_MAGIC) + 4 :]):
            raise InvalidInput("snapshot", "must match its checksum: it was cut or altered; bytes", len(blob))
        at = start + struct.unpack_from("<I", blob, len(_MAGIC) + 4)[0]
        told = json.loads(blob[start:at])
        if told["step_ns"] != self._step_ns:
            rule = f"must be one of an assembler of {self._interval} bars; step ns"
            raise InvalidInput("snapshot", rule, told["step_ns"])
        if told["max_age"] != self._max_age:
            raise InvalidInput("snapshot", f"must be one of the same max_age {self._max_age}", told["max_age"])
        known = {}
        for name, (columns, rows) in told["sources"].items():
            series = []
            for i, column in enumerate(columns):
                values = np.frombuffer(blob, "<i8" if i < 2 else "<f8", rows, at)
                series.append(pl.Series(column, values, dtype=pl.Int64 if i < 2 else pl.Float64))
                at += 8 * rows
            known[name] = pl.DataFrame(series)
        self._known, self._last_ns = known, told["last_ns"]

    def _as_of(
        self, name: str, frame: pl.DataFrame | None, available: str, columns: list[str], closes: IntArray
    ) -> tuple[dict[str, FloatArray], FloatArray, pl.DataFrame]:
        """Return the columns and the age in minutes at each close, and the rows to remember."""
        found = [] if name not in self._known else [self._known[name]]
        if frame is not None:
            found.append(_rows(frame, name, available, columns))
        # Told twice, a row counts once. One whose event is older than that of a row available before it never holds.
        rows = pl.concat(found).unique(["at", "event"], keep="last", maintain_order=True).sort("at", "event")
        rows = rows.filter(pl.col("event") >= pl.col("event").cum_max())
        at = rows["at"].to_numpy()
        newest = np.searchsorted(at, closes, side="right") - 1
        held = newest >= 0
        age = np.where(held, (closes - at[newest]) / NS_PER_MINUTE, np.nan) if at.size else np.full(closes.size, np.nan)
        if name.removeprefix("series.") in self._max_age:
            held &= ~(age * NS_PER_MINUTE > self._max_age[name.removeprefix("series.")])
        values = {}
        for column in columns:
            stored = rows[column].to_numpy()
            values[column] = np.where(held, stored[newest], np.nan) if at.size else np.full(closes.size, np.nan)
        keep = max(int(newest[-1]), 0) if closes.size else 0
        return values, np.where(held, age, np.nan), rows[keep:]


def assemble(
    bars: pl.DataFrame, interval: str, max_age: Mapping[str, str] | None = None, **sources: Any
) -> pl.DataFrame:
    """Return whole tables joined at once; see :meth:`Assembler.push` for ``sources``.

    Examples
    --------
    >>> from research.market.bars import on_clock
    >>> minute = 60 * 10**9
    >>> def at(*minutes):
    ...     return pl.Series("ts", [m * minute for m in minutes]).cast(TS)
    >>> bars = pl.DataFrame([at(0, 5, 10), pl.Series("close", [20.0, 21.0, 22.0])])
    >>> eth = pl.DataFrame([at(0, 10), pl.Series("close", [2_000.0, 2_100.0])])
    >>> funding = pl.DataFrame([at(10), pl.Series("rate", [1e-4]), pl.Series("interval_hours", [8.0])])
    >>> table = assemble(bars, "5m", symbols={"ETHUSDT": eth}, funding=funding)
    >>> table["ETHUSDT.close"].to_list(), table["funding_rate"].to_list(), table["funding_age"].to_list()
    ([2000.0, nan, 2100.0], [nan, 0.0001, 0.0001], [nan, 0.0, 5.0])
    """
    return Assembler(interval, max_age).push(bars, **sources)


def _named(frames: Mapping[str, pl.DataFrame] | None, subject: str) -> list[tuple[str, pl.DataFrame]]:
    """Return the tables of one kind by name, checked to be tables."""
    if frames is None:
        return []
    if not isinstance(frames, Mapping):
        raise InvalidInput(subject, "must be a mapping of names to tables", type(frames).__name__)
    for name, frame in frames.items():
        if not isinstance(name, str) or not isinstance(frame, pl.DataFrame):
            raise InvalidInput(f"{subject}.{name}", "must be a polars DataFrame under a name", type(frame).__name__)
    return list(frames.items())


def _times(frame: pl.DataFrame, subject: str) -> IntArray:
    """Return the open times of a table, checked to be UTC."""
    if not isinstance(frame, pl.DataFrame):
        raise SchemaMismatch(subject, "must be a polars DataFrame", type(frame).__name__)
    kind = frame.schema.get("ts")
    if not (isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"):
        raise SchemaMismatch(f"{subject}.ts", "must be a UTC datetime", str(kind))
    if frame["ts"].null_count():
        raise MisalignedBars(f"{subject}.ts", "must have no null", frame["ts"].null_count())
    return epoch_ns(frame)


def _columns(frame: pl.DataFrame, subject: str, names: Mapping[str, str], step_ns: int) -> pl.DataFrame:
    """Return ``ts`` and renamed columns of a frame of bars, checked to be of the interval."""
    ts = _times(frame, subject)
    for column in names:
        if column not in frame.columns:
            raise SchemaMismatch(f"{subject}.{column}", "is required; columns are", frame.columns)
        if not frame.schema[column].is_numeric():
            raise SchemaMismatch(f"{subject}.{column}", "must be a number; type is", str(frame.schema[column]))
    gaps = np.diff(ts)
    if (gaps <= 0).any():
        raise MisalignedBars(f"{subject}.ts", "must increase from row to row; ns later", int(gaps.min()))
    minutes = step_ns / NS_PER_MINUTE
    if (ts % step_ns).any():
        rule = f"must be bars of {minutes:g} minutes as those that they are joined to (research.market.resample); ns"
        raise MisalignedBars(f"{subject}.ts", rule, int(ts[np.flatnonzero(ts % step_ns)[0]]))
    common = int(np.gcd.reduce(gaps)) if gaps.size else step_ns
    if gaps.size >= _TELLING and common != step_ns:
        # An hour's bar joined by its open time would tell the close of the hour at its beginning.
        rule = f"must be bars of {minutes:g} minutes as those that they are joined to; all are a multiple apart, of ns"
        raise MisalignedBars(f"{subject}.ts", rule, common)
    return pl.DataFrame([frame["ts"].cast(TS), *(frame[c].cast(pl.Float64).alias(name) for c, name in names.items())])


def _joined(table: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    taken = sorted(set(other.columns[1:]) & set(table.columns))
    if taken:
        raise InvalidInput(f"column {taken[0]!r}", "must come from one source only")
    joined = table.with_columns(pl.col("ts").cast(TS)).join(other, on="ts", how="left", maintain_order="left")
    return joined.with_columns(pl.col(other.columns[1:]).fill_null(float("nan")))


def _filled(table: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Join columns; those that the bars have themselves only where the bars' value is null or NaN."""
    shared = [name for name in other.columns[1:] if name in table.columns]
    wrong = [name for name in shared if name not in _HELD_BY_BARS]
    if wrong:
        raise InvalidInput(f"column {wrong[0]!r}", "must come from one source only")
    joined = _joined(table, other.rename({name: f"flow {name}" for name in shared}))
    own = [
        pl.when(pl.col(name).is_null() | pl.col(name).cast(pl.Float64).is_nan())
        .then(pl.col(f"flow {name}"))
        .otherwise(pl.col(name).cast(pl.Float64))
        .alias(name)
        for name in shared
    ]
    return joined.with_columns(own).drop([f"flow {name}" for name in shared])


def _with_arrays(table: pl.DataFrame, values: Mapping[str, FloatArray]) -> pl.DataFrame:
    taken = sorted(set(values) & set(table.columns))
    if taken:
        raise InvalidInput(f"column {taken[0]!r}", "must come from one source only")
    return table.with_columns([pl.Series(name, column) for name, column in values.items()])


def _rows(frame: pl.DataFrame, name: str, available: str, columns: list[str]) -> pl.DataFrame:
    """Return dated rows as ``at`` and ``event``, both ns, and float columns."""
    if not isinstance(frame, pl.DataFrame):
        raise SchemaMismatch(name, "must be a polars DataFrame", type(frame).__name__)
    event = "ts" if "ts" in frame.columns else available
    for column in dict.fromkeys([available, event, *columns]):
        kind = frame.schema.get(column)
        if kind is None:
            raise SchemaMismatch(f"{name}.{column}", "is required; columns are", frame.columns)
        if column in columns:
            if not kind.is_numeric():
                raise SchemaMismatch(f"{name}.{column}", "must be a number; type is", str(kind))
        elif not (isinstance(kind, pl.Datetime) and kind.time_zone == "UTC"):
            raise SchemaMismatch(f"{name}.{column}", "must be a UTC datetime", str(kind))
        elif frame[column].null_count():
            raise SchemaMismatch(f"{name}.{column}", "must have no null", frame[column].null_count())
    times = [pl.Series(key, epoch_ns(frame, column)) for key, column in (("at", available), ("event", event))]
    return pl.DataFrame([*times, *(frame[c].cast(pl.Float64).fill_null(float("nan")) for c in columns)])
