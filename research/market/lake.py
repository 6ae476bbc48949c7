"""The Parquet lake: market data on disk by venue, market, symbol, kind and interval. It repairs no data.

::

    root/venue=bybit/market=linear/symbol=SOLUSDT/instrument.json
    root/venue=bybit/market=linear/symbol=SOLUSDT/kind=bars/interval=1m/2024-01.parquet
    root/venue=bybit/market=linear/symbol=SOLUSDT/kind=trades/2024-01-31.parquet
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from research.errors import CorruptFile, InvalidInput, NotInLake
from research.market.bars import SCHEMAS, TS, interval_ns
from research.market.instruments import Instrument
from research.market.lake_files import lake_errors, locked, replacing, sweep
from research.market.lake_parquet import chunks, encoded, extent, require_footer
from research.market.lake_rows import (
    Time,
    WriteReport,
    accepted,
    merged,
    partition_bounds,
    partitions,
    time_range,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_INTERVAL_REQUIRED = {"bars", "mark"}
_INTERVAL_REFUSED = {"funding", "trades", "book"}
_SERIES_SCHEMA: dict[str, type[pl.DataType] | pl.DataType] = {
    "venue": pl.String, "market": pl.String, "symbol": pl.String, "kind": pl.String, "interval": pl.String,
    "rows": pl.Int64, "first_ts": TS, "last_ts": TS, "bytes": pl.Int64,
}  # fmt: skip

_Part = tuple[Path, tuple[int, int]]  # a file and the times that may be in it


class Lake:
    """A folder of hive-partitioned Parquet files, one per month of a series, or per day of trades and book.

    Parameters
    ----------
    root : path-like
        Made by the first write. Any reader of hive partitions can open it too.

    Notes
    -----
    Readers take no lock and never see half a file. Writers of one series take turns. A bound of a time range is ISO
    8601 text or a datetime (UTC where no zone is given) or integer nanoseconds; the start is inclusive, the end not.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from datetime import UTC, datetime
    >>> funding = pl.DataFrame({
    ...     "ts": pl.Series([datetime(2024, 1, 1, h, tzinfo=UTC) for h in (0, 8)], dtype=TS),
    ...     "rate": [1e-4, 5e-5], "interval_hours": [8.0, 8.0],
    ... })
    >>> with TemporaryDirectory() as folder:
    ...     lake = Lake(folder)
    ...     lake.write(funding, "bybit", "linear", "SOLUSDT", "funding")
    ...     lake.write(funding, "bybit", "linear", "SOLUSDT", "funding")
    ...     lake.funding("bybit", "linear", "SOLUSDT", start="2024-01-01T08:00")["rate"].to_list()
    WriteReport(rows_added=2, rows_replaced=0, rows_unchanged=0)
    WriteReport(rows_added=0, rows_replaced=0, rows_unchanged=2)
    [5e-05]
    """

    __slots__ = ("root",)

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def __repr__(self) -> str:
        return f"Lake({str(self.root)!r})"

    def write(
        self, frame: pl.DataFrame, venue: str, market: str, symbol: str, kind: str, interval: str | None = None
    ) -> WriteReport:
        """Merge rows into a series.

        Rows under a new key are added, rows under a stored key with other values replace it, and a file in which
        nothing changes keeps its bytes. An optional column that the frame does not have is not compared.

        Parameters
        ----------
        frame : polars.DataFrame
            Columns of the kind (:data:`research.market.bars.SCHEMAS`), sorted by ``ts``, each key once.
        venue, market, symbol : str
            Names without slashes.
        kind : str
            bars, mark, funding, open_interest, long_short_ratio, trades or book.
        interval : str, optional
            Required for bars and mark, refused for funding, trades and book.

        Returns
        -------
        WriteReport
            Rows added, replaced and unchanged.

        Raises
        ------
        SchemaMismatch, MisalignedBars
            If the rows are not the kind's, unsorted or repeated; nothing is written.
        CorruptFile
            If a file to be merged with cannot be read; nothing is written.
        LakeError
            If the disk is full or fails. Until the first rename nothing has changed; renames need no space.

        Notes
        -----
        The writer may die at any moment: each partition is then whole, as before or as after, and the same
        write again completes the rest. One partition at a time is in memory.
        """
        folder = self._folder(venue, market, symbol, kind, interval)
        absent = frozenset(SCHEMAS[kind]) - set(frame.columns)
        rows = accepted(frame, kind, interval, f"{symbol}.{kind}")
        report = WriteReport()
        if rows.is_empty():
            return report
        with locked(folder), lake_errors("written", folder):
            sweep(folder)
            with replacing() as stage:
                for stem, part in partitions(rows, kind):
                    path = folder / f"{stem}.parquet"
                    change = WriteReport(rows_added=part.height)
                    if path.exists():
                        stored = _whole(path, kind)
                        part, change = merged(stored, part, kind, absent)
                    if change.rows_added or change.rows_replaced:
                        stage(path, encoded(part, kind))
                    report += change
        return report

    def scan(
        self,
        venue: str,
        market: str,
        symbol: str,
        kind: str,
        interval: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.LazyFrame:
        """Return a lazy frame over the files whose partitions meet ``[start, end)``.

        Projections and filters added to it reach the files. Footers and schemas are checked here; page checksums are
        not, because polars does not verify them: :meth:`read` and :meth:`blocks` do.

        Raises
        ------
        NotInLake
            If the series is not stored; a stored series without rows in the range gives an empty frame.
        CorruptFile, SchemaMismatch
            If a file is cut short or holds other columns.
        """
        first, after = time_range(start, end)
        parts = self._parts(venue, market, symbol, kind, interval, first, after)
        for path, _ in parts:
            require_footer(path, kind)
        if not parts:
            return pl.LazyFrame(schema=SCHEMAS[kind])
        frame = pl.scan_parquet(
            [path for path, _ in parts], schema=SCHEMAS[kind], hive_partitioning=False, glob=False, cache=False
        )
        if start is not None:  # from integers: a Python datetime would cut the nanoseconds off
            frame = frame.filter(pl.col("ts") >= pl.lit(first, pl.Int64).cast(TS))
        if end is not None:
            frame = frame.filter(pl.col("ts") < pl.lit(after, pl.Int64).cast(TS))
        return frame

    def blocks(
        self,
        venue: str,
        market: str,
        symbol: str,
        kind: str,
        interval: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
        rows: int = 65_536,
    ) -> Iterator[pl.DataFrame]:
        """Stream ``[start, end)`` in frames of exactly ``rows`` rows but for the last, in memory that does not grow.

        Every page read is verified against its checksum. Raises as :meth:`scan` does, and :class:`CorruptFile` when
        the stream reaches a damaged page.
        """
        if rows < 1:
            raise InvalidInput("rows", "must be at least 1", rows)
        first, after = time_range(start, end)
        parts = self._parts(venue, market, symbol, kind, interval, first, after)
        return _rebatched(_verified(parts, kind, first, after), rows)

    def read(
        self,
        venue: str,
        market: str,
        symbol: str,
        kind: str,
        interval: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return the rows of ``[start, end)``, verified against their checksums.

        Raises as :meth:`scan` does, and :class:`CorruptFile` for a damaged page.
        """
        first, after = time_range(start, end)
        parts = self._parts(venue, market, symbol, kind, interval, first, after)
        found = list(_verified(parts, kind, first, after))
        return pl.concat(found, rechunk=True) if found else pl.DataFrame(schema=SCHEMAS[kind])

    def bars(
        self,
        venue: str,
        market: str,
        symbol: str,
        interval: str = "1m",
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return traded bars; ``ts`` is the open time, absent bars are absent (``on_clock`` marks them)."""
        return self.read(venue, market, symbol, "bars", interval, start, end)

    def mark(
        self,
        venue: str,
        market: str,
        symbol: str,
        interval: str = "1m",
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return bars of the mark price."""
        return self.read(venue, market, symbol, "mark", interval, start, end)

    def funding(
        self, venue: str, market: str, symbol: str, start: Time | None = None, end: Time | None = None
    ) -> pl.DataFrame:
        """Return funding settlements: time, rate as a fraction (positive: longs pay) and interval in hours."""
        return self.read(venue, market, symbol, "funding", None, start, end)

    def open_interest(
        self,
        venue: str,
        market: str,
        symbol: str,
        interval: str | None = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> pl.DataFrame:
        """Return open interest in base units, with the time each value became available."""
        return self.read(venue, market, symbol, "open_interest", interval, start, end)

    def trades(
        self, venue: str, market: str, symbol: str, start: Time | None = None, end: Time | None = None
    ) -> pl.DataFrame:
        """Return single trades in order of arrival; ``side`` is the taker's, +1 or -1."""
        return self.read(venue, market, symbol, "trades", None, start, end)

    def series(self) -> pl.DataFrame:
        """Return what is stored: one row per series with rows, first and last ``ts``, and bytes.

        Raises
        ------
        CorruptFile, SchemaMismatch
            If a footer cannot be read.
        """
        rows = []
        for folder in sorted(self.root.glob("venue=*/market=*/symbol=*/kind=*")):
            for place in [folder, *sorted(folder.glob("interval=*"))]:
                names = dict(part.split("=", 1) for part in place.relative_to(self.root).parts)
                if names["kind"] not in SCHEMAS or not (parts := _stored(place, names["kind"])):
                    continue
                extents = [extent(path, names["kind"]) for path, _ in parts]
                rows.append({
                    "interval": None, **names, "rows": sum(e.rows for e in extents),
                    "first_ts": extents[0].first_ns, "last_ts": extents[-1].last_ns,
                    "bytes": sum(e.size for e in extents),
                })  # fmt: skip
        # Integers first: polars takes a time from Python only as a datetime, which holds no nanoseconds.
        counted = {name: pl.Int64() if dtype == TS else dtype for name, dtype in _SERIES_SCHEMA.items()}
        return pl.DataFrame(rows, schema=counted).cast({"first_ts": TS, "last_ts": TS})

    def write_instrument(self, instrument: Instrument) -> bool:
        """Store an instrument beside its series and return whether the file changed.

        Raises
        ------
        LakeError
            If the disk is full or fails; the file is as it was.
        """
        folder = self._symbol_folder(instrument.venue, instrument.market, instrument.symbol)
        path = folder / "instrument.json"
        content = (json.dumps(instrument.to_dict(), indent=2, allow_nan=False) + "\n").encode()
        with locked(folder), lake_errors("written", path):
            sweep(folder)
            if path.exists() and path.read_bytes() == content:
                return False
            with replacing() as stage:
                stage(path, content)
        return True

    def instrument(self, venue: str, market: str, symbol: str) -> Instrument:
        """Return a stored instrument.

        Raises
        ------
        NotInLake
            If none is stored.
        CorruptFile
            If the file does not hold a valid one.
        """
        path = self._symbol_folder(venue, market, symbol) / "instrument.json"
        with lake_errors("read", path):
            if not path.exists():
                raise NotInLake(f"no instrument is stored for {venue}/{market}/{symbol} in {self.root}")
            content = path.read_bytes()
        try:
            return Instrument.from_dict(json.loads(content))
        except ValueError as error:  # of json and of our own validation
            raise CorruptFile(f"{path} does not hold a valid instrument: {error}") from error

    def _symbol_folder(self, venue: str, market: str, symbol: str) -> Path:
        for subject, name in (("venue", venue), ("market", market), ("symbol", symbol)):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise InvalidInput(subject, "must be letters, digits, _ . - and begin with none of the last two", name)
        return self.root / f"venue={venue}" / f"market={market}" / f"symbol={symbol}"

    def _folder(self, venue: str, market: str, symbol: str, kind: str, interval: str | None) -> Path:
        if kind not in SCHEMAS:
            raise InvalidInput("kind", f"must be one of {', '.join(SCHEMAS)}", kind)
        folder = self._symbol_folder(venue, market, symbol) / f"kind={kind}"
        if interval is None:
            if kind in _INTERVAL_REQUIRED:
                raise InvalidInput("interval", f"is required for {kind}", interval)
            return folder
        if kind in _INTERVAL_REFUSED:
            raise InvalidInput("interval", f"does not apply to {kind}", interval)
        interval_ns(interval)
        return folder / f"interval={interval}"

    def _parts(
        self, venue: str, market: str, symbol: str, kind: str, interval: str | None, first: int, after: int
    ) -> list[_Part]:
        """Return the files that may hold rows of ``[first, after)``, in order of time."""
        folder = self._folder(venue, market, symbol, kind, interval)
        stored = _stored(folder, kind)
        if not stored:
            name = "/".join(filter(None, (venue, market, symbol, kind, interval)))
            raise NotInLake(f"nothing is stored for {name} in {self.root}")
        return [(path, bounds) for path, bounds in stored if bounds[0] < after and bounds[1] > first]


def _stored(folder: Path, kind: str) -> list[_Part]:
    """Return the partition files of a folder in order of time; names that are no partition are not the lake's."""
    with lake_errors("listed", folder):
        paths = sorted(folder.glob("*.parquet"))
    found = [(path, partition_bounds(path.stem, kind)) for path in paths]
    return [(path, bounds) for path, bounds in found if bounds is not None]


def _whole(path: Path, kind: str) -> pl.DataFrame:
    """Return all rows of one file."""
    bounds = partition_bounds(path.stem, kind)
    if bounds is None:
        raise InvalidInput(str(path), "must be named by its partition")
    found = list(chunks(path, kind, bounds, *bounds))
    return pl.concat(found, rechunk=True) if found else pl.DataFrame(schema=SCHEMAS[kind])


def _verified(parts: list[_Part], kind: str, first: int, after: int) -> Iterator[pl.DataFrame]:
    for path, bounds in parts:
        yield from chunks(path, kind, bounds, first, after)


def _rebatched(source: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Cut a stream of frames into frames of ``rows`` rows; the last may be shorter."""
    held: list[pl.DataFrame] = []
    count = 0
    for frame in source:
        held.append(frame)
        count += frame.height
        if count < rows:
            continue
        joined = pl.concat(held, rechunk=True)
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined[start : start + rows]
        count -= whole
        held = [joined[whole:]] if count else []
    if held:
        yield pl.concat(held, rechunk=True)
