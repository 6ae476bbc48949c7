"""What bars made of events share: their clock, price ticks and snapshots. It aggregates nothing.

Trades, book rows and liquidations are events: rows in order of time, in pushes of any size. A bar is told when an event
at or after its end arrives, or when the caller says that the clock has come that far. A bar that the stream entered
half-way is passed over, as half a volume is no volume.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, DTypeLike, NDArray

from research.errors import InvalidInput, SchemaMismatch
from research.kernel import FloatArray, IntArray
from research.market.bars import TS, interval_ns

# First slots of every kernel's int64 state: end of the bar under way in bars since 1970, plus 1 (0: none yet); newest
# time, ns; is the bar told when it closes (the time before the first whole bar is one that is not).
BAR, LAST, TOLD = range(3)
MAX_BARS = 10_000_000  # that one push may close
MAX_VALUE = 1e150  # of a price or a quantity, so that their product is finite
MAX_TICKS = 2.0**52  # of a price, so that it is a whole number in float64

_SIZES = struct.Struct("<QQQI")  # bytes of int64 state, of float64 state, of text; CRC-32 of all three


def epoch_time(time: datetime | int | None, subject: str) -> int:
    """Return a time in nanoseconds since the epoch; -1 for None.

    Examples
    --------
    >>> from datetime import UTC
    >>> epoch_time(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "until"), epoch_time(None, "until")
    (60000000000, -1)
    """
    if time is None:
        return -1
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise InvalidInput(subject, "must be a UTC time, not one without a zone", time)
        since = time - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
        time = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    if isinstance(time, bool) or not isinstance(time, (int, np.integer)) or not 0 <= time < 2**63:
        raise InvalidInput(subject, "must be a UTC datetime or whole nanoseconds since 1970", time)
    return int(time)


def tick_ratio(tick_size: float) -> tuple[float, float]:
    """Return a tick size as numerator and denominator: a price is ``ticks * numerator / denominator``, rounded once.

    Examples
    --------
    >>> tick_ratio(0.05)
    (1.0, 20.0)
    >>> 281451 * 1.0 / 10.0, 281451 * 0.1  # the decimal number that the exchange wrote, and its neighbour
    (28145.1, 28145.100000000002)
    """
    size = positive(tick_size, "tick_size")
    ratio = Fraction(repr(size))
    if max(ratio.numerator, ratio.denominator) > 2**52:
        return size, 1.0
    return float(ratio.numerator), float(ratio.denominator)


def positive(value: float, subject: str) -> float:
    """Return a number, refused unless finite and above zero."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not (math.isfinite(value) and value > 0):
        raise InvalidInput(subject, "must be a finite number above 0", value)
    return float(value)


def whole(value: int, subject: str, low: int, high: int) -> int:
    """Return a whole number, refused outside [low, high]."""
    number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise InvalidInput(subject, f"must be a whole number in [{low}, {high}]", value)
    return int(value)


def event_arrays(frame: pl.DataFrame) -> list[NDArray[Any]]:
    """Return the columns of a conforming frame as writable arrays: times in ns, text left out.

    A null becomes what no rule accepts: NaN, the side 0, -1 elsewhere.
    """
    columns = []
    for name, dtype in frame.schema.items():
        if dtype == pl.Float64:
            columns.append(pl.col(name).fill_null(math.nan))
        elif name == "side":
            columns.append(pl.col(name).fill_null(0))
        elif dtype != pl.String:
            columns.append(pl.col(name).to_physical().cast(pl.Int8 if dtype == pl.Boolean else pl.Int64).fill_null(-1))
    return [column.to_numpy(writable=True) for column in frame.select(columns)]


def event_columns(columns: Mapping[str, tuple[ArrayLike, DTypeLike]], events: str) -> list[NDArray[Any]]:
    """Return arrays as writable copies of their types, refused unless they have one length and nothing is lost."""
    made = [_exact(f"{events}.{name}", values, np.dtype(dtype)) for name, (values, dtype) in columns.items()]
    if len({column.shape for column in made}) > 1 or made[0].ndim != 1:
        rule = f"must have {', '.join(columns)} of one length; shapes are"
        raise SchemaMismatch(events, rule, [column.shape for column in made])
    return made


def _exact(subject: str, values: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values as an array of a type that holds every one of them."""
    try:
        given = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise SchemaMismatch(subject, "must be one-dimensional", type(values).__name__) from error
    if given.dtype.kind not in "biuf" or (dtype.kind == "b" and given.dtype.kind != "b"):
        raise SchemaMismatch(subject, f"must be an array of {dtype}", str(given.dtype))
    if dtype.kind != "f" and given.dtype.kind != dtype.kind and not np.isfinite(given).all():
        raise SchemaMismatch(subject, f"must be whole numbers that fit {dtype}", str(given.dtype))
    with np.errstate(invalid="ignore", over="ignore"):
        made = np.array(given, dtype)
        lost = np.flatnonzero(made.astype(given.dtype) != given) if dtype.kind != "f" else np.empty(0)
    if lost.size:
        rule = f"must be whole numbers that fit {dtype}; received"
        raise SchemaMismatch(f"{subject}[{lost[0]}]", rule, given[lost[0]].item())
    return made


def refuse(events: str, row: int, rule: tuple[str, str], value: Any) -> NoReturn:
    """Raise the error of an event, from its row, the column and the rule that it breaks, and what it holds there."""
    raise InvalidInput(f"{events}.{rule[0]}[{row}]", rule[1], value.item())


class EventBars:
    """Clock and memory of bars that are made of events; base of the classes that make them.

    Parameters
    ----------
    interval : str
        A key of :data:`research.market.bars.INTERVALS`.
    start : datetime or int, optional
        UTC time (or ns) from which on the events are complete: bars begin with the first that opens then or later.
        Where it is not told, they begin with the first that opens at the first event or later.
    identity : str
        Names the class and its parameters in every snapshot.
    columns : sequence of str
        Of the frames that are returned, after ``ts``.
    counts : sequence of str
        Those of them that are Int64.
    marks, state : arrays of int64 and float64
        All that the kernel remembers; zeros before the first event.
    """

    __slots__ = ("_columns", "_counts", "_empty", "_identity", "_marks", "_state", "_step", "_text", "interval")

    def __init__(
        self, interval: str, start: datetime | int | None, identity: str, columns: Sequence[str],
        counts: Sequence[str], marks: IntArray, state: FloatArray,
    ) -> None:  # fmt: skip
        self.interval = interval
        self._step = interval_ns(interval)
        self._columns, self._counts = tuple(columns), frozenset(counts)
        schema = {name: pl.Int64 if name in self._counts else pl.Float64 for name in self._columns}
        self._empty = pl.DataFrame(schema={"ts": TS, **schema})
        self._identity = f"{identity} {interval}\n".encode()
        self._marks, self._state, self._text = marks, state, ""
        since = epoch_time(start, "start")
        if since >= 0:
            self._marks[BAR] = -(-since // self._step) + 1

    @property
    def columns(self) -> list[str]:
        """Names of the columns after ``ts``, in order."""
        return list(self._columns)

    def _room(self, ts: IntArray, until: int) -> FloatArray:
        """Return the array that a push fills: a row for the bar's number, one per column; bars that it may close."""
        newest = max(int(ts[-1]) if ts.size else 0, until)
        end = int(self._marks[BAR]) - 1
        if end < 0:
            end = -(-int(ts[0]) // self._step) if ts.size else newest // self._step + 1
        bars = max(newest // self._step - end + 1, 0)
        if bars > MAX_BARS:
            rule = f"must not be more than {MAX_BARS} bars after the bar under way; bars"
            raise InvalidInput("until" if until == newest else "ts of the last row", rule, bars)
        return np.empty((1 + len(self._columns), bars))

    def _bars(self, out: FloatArray) -> tuple[IntArray, dict[str, FloatArray]]:
        """Return the open times, ns, and the columns of the bars that a kernel wrote."""
        return out[0].astype(np.int64) * self._step, dict(zip(self._columns, out[1:], strict=True))

    def _frame(self, out: FloatArray) -> pl.DataFrame:
        if not out.shape[1]:  # most pushes of a live stream close no bar: a frame of twenty columns costs 0.2 ms
            return self._empty
        opens, columns = self._bars(out)
        series = [pl.Series(k, v.astype(np.int64) if k in self._counts else v) for k, v in columns.items()]
        return pl.DataFrame([pl.Series("ts", opens).cast(TS), *series])

    def _kept(self) -> tuple[IntArray, FloatArray]:
        """Return the parts of the state that a snapshot holds; the rest is zeros or never read."""
        return self._marks, self._state

    def _take(self, marks: IntArray, state: FloatArray) -> bool:
        """Take the parts that :meth:`_kept` returned; False, and nothing taken, where they are of another size."""
        if marks.size != self._marks.size or state.size != self._state.size:
            return False
        self._marks[:], self._state[:] = marks, state
        return True

    def snapshot(self) -> bytes:
        """Return all that is remembered, as bytes that :meth:`restore` takes in any process.

        Notes
        -----
        A line that names the parameters, four sizes, then the state in little-endian.
        """
        marks, state = self._kept()
        parts = marks.astype("<i8").tobytes(), state.astype("<f8").tobytes(), self._text.encode()
        body = b"".join(parts)
        return self._identity + _SIZES.pack(*map(len, parts), zlib.crc32(body)) + body

    def restore(self, blob: bytes) -> None:
        """Continue where :meth:`snapshot` was taken of an object with the same parameters.

        Raises
        ------
        InvalidInput
            If the bytes are not whole, or are of other parameters; the state is then as it was.
        """
        if not blob.startswith(self._identity):
            rule = f"must be a snapshot of {self._identity.decode().strip()}; begins with"
            raise InvalidInput("snapshot", rule, bytes(blob[: len(self._identity)]))
        head, body = blob[len(self._identity) :][: _SIZES.size], blob[len(self._identity) + _SIZES.size :]
        sizes = _SIZES.unpack(head) if len(head) == _SIZES.size else (0, 0, -1, 0)
        intact = sum(sizes[:3]) == len(body) and zlib.crc32(body) == sizes[3] and not (sizes[0] % 8 or sizes[1] % 8)
        if intact:
            marks = np.frombuffer(body, "<i8", sizes[0] // 8).astype(np.int64)
            state = np.frombuffer(body, "<f8", sizes[1] // 8, sizes[0]).astype(np.float64)
            intact = self._take(marks, state)
        if not intact:
            raise InvalidInput("snapshot", "must be whole and undamaged; bytes of state", len(body))
        self._text = body[sizes[0] + sizes[1] :].decode()
