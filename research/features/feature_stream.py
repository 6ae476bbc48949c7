"""A warm set of features that advances block by block or bar by bar. It neither reads nor resamples bars."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import FloatArray, IntArray, KernelSpec
from research.market.bars import TS, arrays, epoch_ns

# Magic, fingerprint, time of the newest bar (NO_BAR: none), step of the clock (0: not known yet), state slots, CRC-32
# of the state.
_HEADER = struct.Struct("<8s32sqqQI")
_MAGIC = b"FEATST01"
NO_BAR = -(2**63)


@dataclass(frozen=True, slots=True)
class Entry:
    """One feature of a set: its key, its kernel and the parameters in the kernel's order."""

    key: str
    spec: KernelSpec
    arguments: tuple[int | float, ...]

    @property
    def columns(self) -> list[str]:
        """Names of its output columns."""
        return self.spec.column_names(self.key)

    @property
    def params(self) -> dict[str, int | float]:
        """Parameters by name, defaults included."""
        return {param.name: given for param, given in zip(self.spec.params, self.arguments, strict=True)}

    @property
    def lookback(self) -> int:
        """Bars up to and including the first finite output."""
        return self.spec.lookback(*self.arguments)

    @property
    def warmup(self) -> int:
        """Bars after a cold start until equal to the long-running value."""
        return self.spec.warmup(*self.arguments)


class FeatureStream:
    """The running state of a feature set; make one with ``FeatureSet.stream``.

    Parameters
    ----------
    entries : sequence of Entry
        In column order.
    fingerprint : str
        Of the set; written into every snapshot.

    Notes
    -----
    Any split of the same bars into pushes gives the same bytes. Nothing is consumed by a push that raises. Memory is
    that of the states: it does not grow with history. One stream belongs to one thread at a time.
    """

    __slots__ = ("_calls", "_columns", "_entries", "_fingerprint", "_inputs", "_last_ns", "_state", "_step_ns")

    def __init__(self, entries: Sequence[Entry], fingerprint: str) -> None:
        self._entries = tuple(entries)
        self._fingerprint = fingerprint
        self._columns = [column for entry in self._entries for column in entry.columns]
        self._inputs = tuple(dict.fromkeys(name for entry in self._entries for name in entry.spec.inputs))
        sizes = {entry.key: entry.spec.state_size(*entry.arguments) for entry in self._entries}
        self._state: FloatArray = np.zeros(sum(sizes.values()))
        # States lie in the order of the keys, not of the columns: the fingerprint does not depend on the latter.
        starts, at = {}, 0
        for key in sorted(sizes):
            starts[key], at = at, at + sizes[key]
        self._calls, row = [], 0
        for entry in self._entries:
            state = self._state[starts[entry.key] : starts[entry.key] + sizes[entry.key]]
            rows = slice(row, row + len(entry.spec.outputs))
            self._calls.append((entry.spec.kernel, entry.spec.inputs, (*entry.arguments, state), rows))
            row = rows.stop
        self._last_ns = NO_BAR
        self._step_ns = 0

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
            If bars are missing, repeated or out of order.
        """
        dtype = bars.schema.get("ts")
        if not (isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"):
            raise SchemaMismatch("bars.ts", "must be a UTC datetime", str(dtype))
        if bars["ts"].null_count():
            raise MisalignedBars("bars.ts", "must have no null", bars["ts"].null_count())
        floats = [name for name in self._inputs if name != "ts"]
        chunk: dict[str, NDArray[Any]] = {"ts": epoch_ns(bars)}
        chunk.update(zip(floats, arrays(bars, floats), strict=True))
        out = self.push_arrays(chunk, threads)
        times = bars["ts"].cast(TS)
        return pl.DataFrame([times, *(pl.Series(name, out[i]) for i, name in enumerate(self._columns))])

    def push_arrays(self, chunk: Mapping[str, NDArray[Any]], threads: int = 1) -> FloatArray:
        """Take the next bars as arrays: no frame is made, for one bar at a time.

        Parameters
        ----------
        chunk : mapping of str to (n,) array
            The columns in ``inputs``, float64, and ``ts``, int64 nanoseconds. ``ts`` may be left out where no
            feature reads it: then the clock is not checked, and starts anew with the next push that has it.
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
        MisalignedBars
            If bars are missing, repeated or out of order.
        """
        given, n = self._checked(chunk)
        last_ns, step_ns = NO_BAR, 0
        if "ts" in given:
            last_ns, step_ns = _advanced_clock(given["ts"], self._last_ns, self._step_ns)
        out = np.empty((len(self._columns), n))
        if _thread_count(threads) == 1:
            for kernel, inputs, rest, rows in self._calls:
                kernel(*[given[name] for name in inputs], *rest, out[rows])
        else:
            self._run_on(threads, given, out)
        self._last_ns, self._step_ns = last_ns, step_ns
        return out

    def snapshot(self) -> bytes:
        """Return all that the stream remembers, as bytes that :meth:`restore` takes in any process.

        Notes
        -----
        68 bytes of header, then the states as little-endian float64. It depends on the machine only through the
        values of ``log``, ``sin`` and ``cos`` in its C library.
        """
        body = self._state.astype("<f8", copy=False).tobytes()
        key = bytes.fromhex(self._fingerprint)
        return _HEADER.pack(_MAGIC, key, self._last_ns, self._step_ns, self._state.size, zlib.crc32(body)) + body

    def restore(self, blob: bytes) -> None:
        """Become the stream that :meth:`snapshot` was taken of.

        Raises
        ------
        InvalidInput
            If the bytes are not a whole snapshot; the stream is as it was.
        FingerprintMismatch
            If it is one of other features, parameters or kernel code; the stream is as it was.
        """
        if len(blob) < _HEADER.size or blob[:8] != _MAGIC:
            raise InvalidInput("snapshot", "must begin with the header of a feature stream", blob[:8])
        _, key, last_ns, step_ns, slots, checksum = _HEADER.unpack_from(blob)
        if key.hex() != self._fingerprint:
            was, now = key.hex()[:16], self._fingerprint[:16]
            raise FingerprintMismatch(f"snapshot of feature set {was} cannot be resumed by feature set {now}")
        body = blob[_HEADER.size :]
        if slots != self._state.size or len(body) != 8 * slots or zlib.crc32(body) != checksum:
            raise InvalidInput("snapshot", f"must hold {self._state.size} intact slots; bytes of state", len(body))
        self._state[:] = np.frombuffer(body, dtype="<f8")
        self._last_ns, self._step_ns = last_ns, step_ns

    def _checked(self, chunk: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], int]:
        n = -1
        given: dict[str, NDArray[Any]] = {}
        for name in self._inputs if "ts" not in chunk or "ts" in self._inputs else ("ts", *self._inputs):
            array = chunk.get(name)
            if array is None:
                raise SchemaMismatch(f"bars.{name}", "is required; columns are", sorted(chunk))
            kind = np.int64 if name == "ts" else np.float64
            if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != 1:
                rule = f"must be a one-dimensional array of {kind.__name__}"
                raise SchemaMismatch(f"bars.{name}", rule, getattr(array, "dtype", type(array).__name__))
            if n >= 0 and array.shape[0] != n:
                raise SchemaMismatch(f"bars.{name}", f"must have {n} rows as the columns before", array.shape[0])
            n = array.shape[0]
            # To Numba a read-only or strided array is another type: a kernel compiled for it would be a second one.
            flags = array.flags
            given[name] = array if flags.c_contiguous and flags.writeable else array.copy()
        return given, n

    def _run_on(self, threads: int, given: Mapping[str, NDArray[Any]], out: FloatArray) -> None:
        with ThreadPoolExecutor(threads) as pool:
            running = [
                pool.submit(kernel, *[given[name] for name in inputs], *rest, out[rows])
                for kernel, inputs, rest, rows in self._calls
            ]
            for future in running:
                future.result()


def _thread_count(threads: object) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InvalidInput("threads", "must be a whole number of at least 1", threads)
    return threads


def _advanced_clock(ts: IntArray, last_ns: int, step_ns: int) -> tuple[int, int]:
    """Return the newest time and the step of the clock after these bars, or refuse them.

    The step is not told but learnt from the first two bars.
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
