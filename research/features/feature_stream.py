"""A warm set of features that advances block by block or bar by bar. It fetches and joins nothing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars, SchemaMismatch
from research.features import timeframes
from research.features.feature_entry import Entry, in_order
from research.features.timeframes import Timeframe
from research.kernel import FloatArray, IntArray, KernelSpec
from research.market.bars import NS_PER_MINUTE, TS, epoch_ns, in_place, interval_ns

# Magic, fingerprint, time of the newest bar (NO_BAR: none), step of the clock (0: not known yet), state slots, CRC-32
# of all that and of the state.
_HEADER = struct.Struct("<8s32sqqQI")
_MAGIC = b"FEATST03"
NO_BAR = -(2**63)
_FLOAT, _INT = np.dtype(np.float64), np.dtype(np.int64)


class FeatureStream:
    """The running state of a feature set; make one with ``FeatureSet.stream``.

    Parameters
    ----------
    entries : sequence of Entry
        In column order.
    fingerprint : str
        Of the set; written into every snapshot.
    timeframe : str, optional
        Interval of the bars that are pushed. Where it is not told it is learnt from the first two bars, and columns of
        entries with a timeframe begin with the second.

    Notes
    -----
    Any split of the same bars into pushes gives the same bytes. Nothing is consumed by a push that raises. Memory is
    that of the states: it does not grow with history. One stream belongs to one thread at a time.
    """

    __slots__ = ("_base", "_columns", "_entries", "_fingerprint", "_groups", "_inputs", "_last_ns", "_needs_clock",
                 "_one", "_rows", "_state", "_states", "_step_ns", "_timeframe", "_told_ns")  # fmt: skip

    def __init__(self, entries: Sequence[Entry], fingerprint: str, timeframe: str | None = None) -> None:
        self._entries = tuple(entries)
        self._fingerprint = fingerprint
        self._timeframe = timeframe
        self._columns = [column for entry in self._entries for column in entry.columns]
        self._inputs = tuple(dict.fromkeys(name for entry in self._entries for name in entry.bar_columns))
        self._rows: dict[str, slice] = {}
        row = 0
        for entry in self._entries:
            self._rows[entry.key] = slice(row, row + len(entry.columns))
            row += len(entry.columns)
        ordered = in_order(sorted(self._entries, key=lambda entry: entry.key))
        self._told_ns = 0 if timeframe is None else interval_ns(timeframe)
        self._base = [entry for entry in ordered if entry.timeframe is None or entry.timeframe == timeframe]
        lengths: dict[int, list[Entry]] = {}
        for entry in ordered:
            if entry.timeframe is not None and entry.timeframe != timeframe:
                lengths.setdefault(interval_ns(entry.timeframe), []).append(entry)
        # States lie in the order of the keys, not of the columns: the fingerprint does not depend on the latter.
        sizes = [entry.spec.state_size(*entry.arguments) for entry in ordered]
        own = [timeframes.state_size(lengths[length]) for length in sorted(lengths)]
        self._state: FloatArray = np.zeros(sum(sizes) + sum(own))
        self._states, at = {}, 0
        for entry, size in zip(ordered, sizes, strict=True):
            self._states[entry.key] = self._state[at : at + size]
            at += size
        self._groups = []
        for length, size in zip(sorted(lengths), own, strict=True):
            slots = self._state[at : at + size]
            slots[size - timeframes.held_slots(lengths[length]) :] = np.nan
            self._groups.append(Timeframe(length, lengths[length], self._states, slots))
            at += size
        self._needs_clock = bool(self._groups) or self._told_ns > 0
        self._last_ns = NO_BAR
        self._step_ns = self._told_ns
        self._one: _OneBar | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the output columns, in order."""
        return list(self._columns)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Bar columns that are read."""
        return self._inputs

    @property
    def last_ns(self) -> int | None:
        """Open time of the newest bar taken, nanoseconds; None before the first."""
        return None if self._last_ns == NO_BAR else self._last_ns

    def push(self, bars: pl.DataFrame, threads: int = 1) -> pl.DataFrame:
        """Take the next bars, one or many, and return their features.

        Parameters
        ----------
        bars : polars.DataFrame
            ``ts`` (UTC, open time) and the columns in ``inputs``. On one complete clock that goes on where the last
            push ended; an absent bar is a row of NaN (``research.market.on_clock``).
        threads : int
            Features computed side by side; the result is the same.

        Returns
        -------
        polars.DataFrame
            ``ts`` and one float column per output, NaN before the lookback and as each feature declares for gaps.

        Raises
        ------
        SchemaMismatch
            If a column is absent, not numeric, or ``ts`` is not a UTC datetime.
        MisalignedBars
            If bars are missing, repeated, out of order, off the grid or of another interval than the set's.
        InvalidInput
            If an entry's timeframe is not a multiple of the bars'.

        Notes
        -----
        Besides the table it returns and the states it holds no copy of anything: columns that are float64 without
        nulls are read where they lie.
        """
        if not isinstance(bars, pl.DataFrame):
            raise SchemaMismatch("bars", "must be a polars DataFrame", type(bars).__name__)
        dtype = bars.schema.get("ts")
        if not (isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"):
            raise SchemaMismatch("bars.ts", "must be a UTC datetime", str(dtype))
        if bars["ts"].null_count():
            raise MisalignedBars("bars.ts", "must have no null", bars["ts"].null_count())
        chunk: dict[str, NDArray[Any]] = {"ts": epoch_ns(bars)}
        kept = [_readable(bars, name) for name in self._inputs if name != "ts"]
        chunk.update({series.name: in_place(series) for series in kept})
        # An array per entry, not one for all: a column that is kept keeps its entry's others alive, and no more.
        outs = {entry.key: np.empty((len(entry.columns), bars.height)) for entry in self._entries}
        self._take(chunk, outs, threads)
        columns = [_as_series(name, outs[e.key][i]) for e in self._entries for i, name in enumerate(e.columns)]
        return pl.DataFrame([bars["ts"].cast(TS), *columns])

    def push_arrays(self, chunk: Mapping[str, NDArray[Any]], threads: int = 1) -> FloatArray:
        """Take the next bars as arrays: no frame is made, for one bar at a time.

        Parameters
        ----------
        chunk : mapping of str to (n,) array
            The columns in ``inputs``, float64, and ``ts``, int64 nanoseconds. ``ts`` may be left out where no
            feature reads it and no timeframe is named: then the clock is not checked, and starts anew with the next
            push that has it.
        threads : int
            Features computed side by side; the result is the same.

        Returns
        -------
        (n_columns, n) array
            Rows as in ``columns``.

        Raises
        ------
        SchemaMismatch
            If an array is absent, or has another type or length.
        MisalignedBars, InvalidInput
            As :meth:`push`.
        """
        if not isinstance(chunk, Mapping):
            raise SchemaMismatch("bars", "must be a mapping of arrays", type(chunk).__name__)
        given, n = self._checked(chunk)
        out = np.empty((len(self._columns), n))
        if n == 1:
            self._take_one(given, out, threads)
        else:
            self._take(given, {key: out[rows] for key, rows in self._rows.items()}, threads)
        return out

    def _take(self, chunk: Mapping[str, NDArray[Any]], outs: Mapping[str, FloatArray], threads: int) -> None:
        """Take the next bars and write the output of each entry."""
        given, n = self._checked(chunk)
        _thread_count(threads)
        if n == 0:
            return
        if n == 1:
            out = np.empty((len(self._columns), 1))
            self._take_one(given, out, threads)
            for key, rows in self._rows.items():
                outs[key][:] = out[rows]
            return
        last_ns, step_ns = self._clock_after(given)
        if self._groups and not self._told_ns and self._last_ns == NO_BAR:
            # The step is not known at the first bar when bars come one by one, and so it is not when they do not.
            first = self._push_one({name: column[:1] for name, column in given.items()}, 0)
            rest = {key: np.empty((out.shape[0], n - 1)) for key, out in outs.items()}
            self._run({name: column[1:] for name, column in given.items()}, rest, threads, step_ns)
            for key, rows in self._rows.items():
                outs[key][:, :1], outs[key][:, 1:] = first[rows], rest[key]
        else:
            self._run(given, outs, threads, step_ns)
        self._last_ns, self._step_ns = last_ns, step_ns

    def _take_one(self, given: Mapping[str, NDArray[Any]], out: FloatArray, threads: int) -> None:
        if threads != 1:
            _thread_count(threads)
        last_ns, step_ns = self._clock_after(given)
        out[:] = self._push_one(given, step_ns)
        self._last_ns, self._step_ns = last_ns, step_ns

    def _clock_after(self, given: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
        """Return the newest time and the step after these bars, or refuse them."""
        if "ts" not in given:
            return NO_BAR, self._told_ns
        last_ns, step_ns = _advanced_clock(given["ts"], self._last_ns, self._step_ns)
        if self._needs_clock:
            self._require_grid(int(given["ts"][0]), step_ns)
        return last_ns, step_ns

    def snapshot(self) -> bytes:
        """Return all that the stream remembers, as bytes that :meth:`restore` takes in any process.

        Notes
        -----
        68 bytes of header, then the states as little-endian float64. It depends on the machine only through the
        values of ``log``, ``sin`` and ``cos`` in its C library.
        """
        body = self._state.astype("<f8", copy=False).tobytes()
        key = bytes.fromhex(self._fingerprint)
        head = _HEADER.pack(_MAGIC, key, self._last_ns, self._step_ns, self._state.size, 0)
        return head[:-4] + struct.pack("<I", zlib.crc32(body, zlib.crc32(head[:-4]))) + body

    def restore(self, blob: bytes) -> None:
        """Become the stream that :meth:`snapshot` was taken of.

        Raises
        ------
        InvalidInput
            If the bytes are not a whole snapshot; the stream is as it was.
        FingerprintMismatch
            If it is one of other features, parameters or kernel code; the stream is as it was.
        """
        if not isinstance(blob, bytes) or len(blob) < _HEADER.size or blob[:8] != _MAGIC:
            received = blob[:8] if isinstance(blob, bytes) else type(blob).__name__
            raise InvalidInput("snapshot", "must begin with the header of a feature stream", received)
        _, key, last_ns, step_ns, slots, checksum = _HEADER.unpack_from(blob)
        if key.hex() != self._fingerprint:
            was, now = key.hex()[:16], self._fingerprint[:16]
            raise FingerprintMismatch(f"snapshot of feature set {was} cannot be resumed by feature set {now}")
        body = blob[_HEADER.size :]
        told = zlib.crc32(body, zlib.crc32(blob[: _HEADER.size - 4]))
        if slots != self._state.size or len(body) != 8 * slots or told != checksum:
            raise InvalidInput("snapshot", f"must hold {self._state.size} intact slots; bytes of state", len(body))
        self._state[:] = np.frombuffer(body, dtype="<f8")
        self._last_ns, self._step_ns = last_ns, step_ns

    def __copy__(self) -> FeatureStream:
        fresh = FeatureStream(self._entries, self._fingerprint, self._timeframe)
        fresh.restore(self.snapshot())
        return fresh

    def __deepcopy__(self, memo: object) -> FeatureStream:
        return self.__copy__()  # slot by slot, states would no longer be views of the one that a snapshot is taken of

    def __reduce__(self) -> tuple[Any, ...]:
        raise InvalidInput("feature stream", "must be carried to another process by snapshot() and restore()")

    def _checked(self, chunk: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], int]:
        n = -1
        given: dict[str, NDArray[Any]] = {}
        with_ts = "ts" in self._inputs or ("ts" not in chunk and not self._needs_clock)
        for name in self._inputs if with_ts else ("ts", *self._inputs):
            array = chunk.get(name)
            if array is None:
                raise SchemaMismatch(f"bars.{name}", "is required; columns are", sorted(map(str, chunk)))
            kind = _INT if name == "ts" else _FLOAT
            if type(array) is not np.ndarray or array.dtype != kind or array.ndim != 1:  # no masked array, no matrix
                rule = f"must be a one-dimensional array of {kind.name}"
                raise SchemaMismatch(f"bars.{name}", rule, getattr(array, "dtype", type(array).__name__))
            if n >= 0 and array.shape[0] != n:
                raise SchemaMismatch(f"bars.{name}", f"must have {n} rows as the columns before", array.shape[0])
            n = array.shape[0]
            # To Numba a read-only or strided array is another type: a kernel compiled for it would be a second one.
            flags = array.flags
            given[name] = array if flags.c_contiguous and flags.writeable else array.copy()
        return given, n

    def _require_grid(self, first_ns: int, step_ns: int) -> None:
        """Refuse a clock that timeframes do not fit."""
        for group in self._groups:
            if step_ns and group.length_ns % step_ns:
                told = f"{step_ns / NS_PER_MINUTE:g} minutes"
                rule = f"must be a multiple of the interval of the bars ({told})"
                raise InvalidInput(f"{group.entries[0].key}.timeframe", rule, group.entries[0].timeframe)
        if step_ns and first_ns % step_ns:
            raise MisalignedBars("bars.ts[0]", f"must be a multiple of {step_ns} ns", first_ns)

    def _push_one(self, given: Mapping[str, NDArray[Any]], step_ns: int) -> FloatArray:
        one = self._one
        if one is None:
            one = self._one = _OneBar(self._base, self._states, self._rows, self._inputs, self._columns)
        for name, slot in one.slots:
            slot[0] = given[name][0]
        for group in self._groups:
            group.push(given["ts"], one.given, step_ns, one.outs)
        for call, arguments, stacked in one.calls:
            for target, position, slot in stacked:
                target[0, position] = slot[0]
            call(*arguments)
        return one.row

    def _run(
        self, given: Mapping[str, NDArray[Any]], outs: Mapping[str, FloatArray], threads: int, step_ns: int
    ) -> None:
        rows = {name: outs[entry.key][i] for entry in self._entries for i, name in enumerate(entry.columns)}

        def group_task(group: Timeframe) -> None:
            group.push(given["ts"], given, step_ns, outs)

        def base_task(entry: Entry) -> None:
            inputs = [_input(source, entry, given, rows) for source in entry.sources]
            entry.spec.kernel(*inputs, *entry.arguments, self._states[entry.key], outs[entry.key])

        if threads == 1 or len(self._entries) == 1:
            for group in self._groups:
                group_task(group)
            for entry in self._base:
                base_task(entry)
            return
        running: dict[str, Future[None]] = {}

        def after(entry: Entry, sources: list[Future[None]]) -> None:
            for source in sources:  # submitted before this one, and so begun before it: nothing waits for ever
                source.result()
            base_task(entry)

        with ThreadPoolExecutor(threads) as pool:
            for group in self._groups:
                future = pool.submit(group_task, group)
                running.update(dict.fromkeys((column for e in group.entries for column in e.columns), future))
            for entry in self._base:
                future = pool.submit(after, entry, [running[name] for name in entry.needs])
                running.update(dict.fromkeys(entry.columns, future))
            for future in running.values():
                future.result()


class _OneBar:
    """Buffers of one bar and the calls that read and write them, made once.

    The dispatcher of Numba looks at the type of every argument at every call; here the types are known and the compiled
    function itself is called: the same code in half of the time.
    """

    __slots__ = ("calls", "given", "outs", "row", "slots")

    def __init__(
        self, entries: Sequence[Entry], states: Mapping[str, FloatArray], rows: Mapping[str, slice],
        inputs: Sequence[str], columns: Sequence[str],
    ) -> None:  # fmt: skip
        self.given: dict[str, NDArray[Any]] = {name: np.empty(1, _INT if name == "ts" else _FLOAT) for name in inputs}
        self.slots = tuple(self.given.items())
        self.row: FloatArray = np.empty((len(columns), 1))
        self.outs = {key: self.row[part] for key, part in rows.items()}
        outputs = {column: self.row[i] for i, column in enumerate(columns)}
        self.calls = []
        for entry in entries:
            stacked: list[tuple[FloatArray, int, NDArray[Any]]] = []
            bound: list[Any] = []
            for source in entry.sources:
                if isinstance(source, tuple):
                    bound.append(np.empty((1, len(source))))
                    stacked += [(bound[-1], i, self.given[name]) for i, name in enumerate(source)]
                else:
                    bound.append(outputs[source] if source in entry.needs else self.given[source])
            arguments = (*bound, *entry.arguments, states[entry.key], self.row[rows[entry.key]])
            self.calls.append((compiled(entry.spec, arguments), arguments, tuple(stacked)))


def compiled(spec: KernelSpec, arguments: Sequence[Any]) -> Any:
    """Return the compiled function of a kernel for arguments of these types, without its dispatcher."""
    kernel: Any = spec.kernel
    if not hasattr(kernel, "compile"):  # NUMBA_DISABLE_JIT=1
        return kernel
    signature = tuple(numba.typeof(argument) for argument in arguments)
    return kernel.compile(signature)


def _input(
    source: str | tuple[str, ...], entry: Entry, given: Mapping[str, NDArray[Any]], rows: Mapping[str, FloatArray]
) -> Any:
    if isinstance(source, tuple):
        return np.stack([given[name] for name in source], axis=1)
    return rows[source] if source in entry.needs else given[source]


def _readable(bars: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as one chunk of float64 without nulls."""
    if name not in bars.columns:
        raise SchemaMismatch(f"bars.{name}", "is required; columns are", bars.columns)
    if not bars.schema[name].is_numeric():
        raise SchemaMismatch(f"bars.{name}", "must be numeric", str(bars.schema[name]))
    series = bars[name].cast(pl.Float64)
    if series.null_count():
        series = series.fill_null(float("nan"))
    return series.rechunk()


def _as_series(name: str, row: FloatArray) -> pl.Series:
    """Return an array as a column, without a copy."""
    array = pa.Array.from_buffers(pa.float64(), row.size, [None, pa.py_buffer(row)])
    return pl.Series(name, pl.from_arrow(array), dtype=pl.Float64)


def _thread_count(threads: object) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InvalidInput("threads", "must be a whole number of at least 1", threads)
    return threads


def _advanced_clock(ts: IntArray, last_ns: int, step_ns: int) -> tuple[int, int]:
    """Return the newest time and the step of the clock after these bars, or refuse them.

    Where the step was not told it is learnt from the first two bars.
    """
    n = ts.shape[0]
    if n == 0:
        return last_ns, step_ns
    cold = last_ns == NO_BAR
    if n == 1 and step_ns and ts[0] == last_ns + step_ns:  # live, bar after bar: 0.2 us instead of 2
        return int(ts[0]), step_ns
    if n == 1:
        gaps = ts[:0] if cold else ts - last_ns
    else:
        gaps = np.diff(ts) if cold else np.diff(ts, prepend=last_ns)
    if gaps.shape[0]:
        step_ns = step_ns or max(int(gaps[0]), 0)
        wrong = np.flatnonzero(gaps != step_ns) if step_ns else np.zeros(1, dtype=np.int64)
        if wrong.shape[0]:
            i = int(wrong[0])
            at = f"bars.ts[{i + cold}]"
            if gaps[i] <= 0:
                raise MisalignedBars(at, "must be later than the bar before; nanoseconds later", int(gaps[i]))
            rule = f"must be {step_ns} ns after the bar before (on_clock marks absent bars as NaN); ns later"
            raise MisalignedBars(at, rule, int(gaps[i]))
    return int(ts[-1]), step_ns
