"""Coarser bars from closed finer ones, by one compiled kernel. It fills no gap and reads no file.

Buckets are aligned on the epoch. A bucket is told when its last base bar arrives, never before, and only if the
stream began at or before its first one: the rest of a bucket that was entered half-way is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.kernel import FloatArray, IntArray, kernel
from research.market.bars import NS_PER_MINUTE, TS, arrays, epoch_ns, interval_ns

PRICES = ("open", "high", "low", "close")
SUMS = ("volume", "turnover", "trade_count", "taker_buy_volume")
_COLUMNS = PRICES + SUMS
_REQUIRED, _ALLOWED = frozenset(PRICES), frozenset(_COLUMNS)

# Slots of the state; times in minutes since the epoch, which float64 holds exactly.
_LAST, _STARTED, _BARS = 0, 1, 2  # last base bar + 1 (0: none yet), bucket entered at its start, valid bars in it
_OPEN, _HIGH, _LOW, _CLOSE = 3, 4, 5, 6
_SUM = 7  # four sums
_KNOWN = 11  # four counts of bars that had the value
STATE_SIZE = 15
_OUTPUTS = 10  # bucket time, four prices, four sums, bar count


@kernel
def resample_bars(ts, bars, base_minutes, bucket_minutes, state, out):
    """Advance the bucket under way by the base bars of a chunk.

    Parameters
    ----------
    ts : (n,) array of int64
        Open times, ns; each one base interval after the one before, also across chunks.
    bars : (8, n) array of float64
        Open, high, low, close, volume, turnover, trade count, taker buy volume. A bar with a NaN price is absent: it
        moves the clock and nothing else. The last four are summed over the bars that have them.
    base_minutes, bucket_minutes : int
        Lengths; the second a multiple of the first.
    state : (15,) array of float64
        Updated in place, but not if a time is refused.
    out : (10, m) array of float64
        m >= n * base_minutes // bucket_minutes + 1. Bucket open time in minutes since the epoch, open, high, low,
        close, the four sums (NaN where no bar has the value), valid base bars.

    Returns
    -------
    int
        Buckets closed, or ``-1 - i`` if ``ts[i]`` is not the next time of the clock.
    """
    step = base_minutes * 60_000_000_000
    expected = np.int64(state[_LAST]) - 1 + base_minutes
    for i in range(ts.shape[0]):
        if i == 0 and state[_LAST] == 0.0:
            wrong = ts[0] % step != 0 or ts[0] < 0
        elif i == 0:
            wrong = ts[0] != expected * 60_000_000_000
        else:
            wrong = ts[i] != ts[i - 1] + step
        if wrong:
            return -1 - i

    closed = 0
    minute = ts[0] // 60_000_000_000 - base_minutes if ts.shape[0] else np.int64(0)
    phase = minute % bucket_minutes
    for i in range(ts.shape[0]):
        minute += base_minutes  # the clock was just checked: counting on costs no division
        phase = phase + base_minutes if phase + base_minutes < bucket_minutes else 0
        if phase == 0:
            state[_STARTED] = 1.0
            state[_BARS:] = 0.0
        if state[_STARTED] == 0.0:
            continue
        if not (np.isnan(bars[0, i]) or np.isnan(bars[1, i]) or np.isnan(bars[2, i]) or np.isnan(bars[3, i])):
            if state[_BARS] == 0.0:
                state[_OPEN] = bars[0, i]
                state[_HIGH] = bars[1, i]
                state[_LOW] = bars[2, i]
            else:
                state[_HIGH] = max(state[_HIGH], bars[1, i])
                state[_LOW] = min(state[_LOW], bars[2, i])
            state[_CLOSE] = bars[3, i]
            state[_BARS] += 1.0
            for k in range(4):
                if not np.isnan(bars[4 + k, i]):
                    state[_SUM + k] += bars[4 + k, i]
                    state[_KNOWN + k] += 1.0
        if phase + base_minutes == bucket_minutes:
            out[0, closed] = minute - phase
            for k in range(4):
                out[1 + k, closed] = state[_OPEN + k] if state[_BARS] > 0.0 else np.nan
                out[5 + k, closed] = state[_SUM + k] if state[_KNOWN + k] > 0.0 else np.nan
            out[9, closed] = state[_BARS]
            closed += 1
    if ts.shape[0]:
        state[_LAST] = minute + 1
    return closed


class Resampler:
    """Build coarser bars as finer ones close, in chunks of any size with the same result.

    Parameters
    ----------
    interval_from, interval_to : str
        Keys of :data:`research.market.bars.INTERVALS`; the second a multiple of the first.

    Examples
    --------
    >>> ts = np.arange(4) * 60 * 10**9
    >>> price = np.array([10.0, 11.0, 9.0, 10.5])
    >>> three = Resampler("1m", "3m")
    >>> opens, bar = three.push_arrays(ts, {"open": price, "high": price, "low": price, "close": price})
    >>> opens.tolist(), {name: values.tolist() for name, values in bar.items()}
    ([0], {'open': [10.0], 'high': [11.0], 'low': [9.0], 'close': [9.0], 'bar_count': [3.0]})
    """

    __slots__ = ("_base", "_bucket", "_state", "interval_from", "interval_to")

    def __init__(self, interval_from: str, interval_to: str) -> None:
        base, bucket = interval_ns(interval_from), interval_ns(interval_to)
        if bucket % base:
            raise InvalidInput("interval_to", f"must be a multiple of interval_from ({interval_from})", interval_to)
        self.interval_from, self.interval_to = interval_from, interval_to
        self._base, self._bucket = base // NS_PER_MINUTE, bucket // NS_PER_MINUTE
        self._state: FloatArray = np.zeros(STATE_SIZE)

    def push(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Return the buckets that this chunk of bars closes.

        Parameters
        ----------
        bars : polars.DataFrame
            ``ts``, open, high, low, close and any of volume, turnover, trade_count, taker_buy_volume, on the complete
            clock (:func:`research.market.on_clock` marks gaps as NaN).

        Returns
        -------
        polars.DataFrame
            The same columns, ``ts`` the open time of the bucket, and ``bar_count``: the valid base bars in it. Prices
            are NaN where there is none; a sum is NaN (``trade_count``: null) where no bar has it.

        Raises
        ------
        MisalignedBars
            If a time is not the next of the clock; nothing of the chunk is taken.
        SchemaMismatch
            If a column is missing, unknown or not numeric.
        """
        names = [name for name in bars.columns if name != "ts"]
        _require_columns(names)
        if "ts" not in bars.columns or not isinstance(bars.schema["ts"], pl.Datetime):
            raise SchemaMismatch("bars.ts", "must be a UTC datetime", str(bars.schema.get("ts")))
        ts, built = self.push_arrays(epoch_ns(bars), dict(zip(names, arrays(bars, names), strict=True)))
        frame = pl.DataFrame({"ts": ts, **built}).with_columns(
            pl.col("ts").cast(TS), pl.col("bar_count").cast(pl.Int64)
        )
        if "trade_count" in names:
            frame = frame.with_columns(pl.col("trade_count").fill_nan(None).cast(pl.Int64))
        return frame

    def push_arrays(self, ts: IntArray, bars: Mapping[str, FloatArray]) -> tuple[IntArray, dict[str, FloatArray]]:
        """Return the open times (ns) and columns of the buckets that a chunk closes; :meth:`push` without frames.

        Parameters
        ----------
        ts : (n,) array of int64
            Open times, ns.
        bars : mapping of str to (n,) array of float64
            Columns as for :meth:`push`.
        """
        if not bars.keys() >= _REQUIRED or not bars.keys() <= _ALLOWED:
            _require_columns(list(bars))
        # One array of one type: numba would compile anew for every mix of read-only and writable columns (1 s each).
        rows = np.empty((len(_COLUMNS), ts.shape[0]))
        for k, name in enumerate(_COLUMNS):
            column = bars.get(name)
            if column is None:
                rows[k] = np.nan
            elif column.shape != ts.shape:
                raise SchemaMismatch(f"bars.{name}", f"must have the shape of ts {ts.shape}", column.shape)
            else:
                rows[k] = column
        out = np.empty((_OUTPUTS, ts.shape[0] * self._base // self._bucket + 1))
        closed: int = resample_bars(np.array(ts, np.int64), rows, self._base, self._bucket, self._state, out)
        if closed < 0:
            self._refuse(ts, -1 - closed)
        built = {name: out[1 + k, :closed] for k, name in enumerate(_COLUMNS) if name in bars}
        built["bar_count"] = out[9, :closed]
        return out[0, :closed].astype(np.int64) * NS_PER_MINUTE, built

    def _refuse(self, ts: IntArray, i: int) -> None:
        if i == 0 and self._state[_LAST] == 0.0:
            raise MisalignedBars("bars.ts[0]", f"must lie on the {self.interval_from} grid", int(ts[0]))
        last = int(ts[i - 1]) if i else int(self._state[_LAST] - 1) * NS_PER_MINUTE
        rule = f"must be {last + self._base * NS_PER_MINUTE}, one {self.interval_from} after the bar before"
        raise MisalignedBars(f"bars.ts[{i}]", f"{rule} (research.market.on_clock marks gaps as NaN)", int(ts[i]))

    def snapshot(self) -> bytes:
        """Return all that the resampler remembers."""
        return self._header() + self._state.tobytes()

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot of a resampler with the same intervals.

        Raises
        ------
        InvalidInput
            If the snapshot is of other intervals or not one at all; the state is then as it was.
        """
        header = self._header()
        if not blob.startswith(header) or len(blob) != len(header) + self._state.nbytes:
            rule = f"must be a snapshot of {self.interval_from} to {self.interval_to}"
            raise InvalidInput("snapshot", rule, bytes(blob[: len(header)]))
        self._state = np.frombuffer(blob, dtype=np.float64, offset=len(header)).copy()

    def _header(self) -> bytes:
        return f"resample 1 {self.interval_from} {self.interval_to}\n".encode()


def _require_columns(names: list[str]) -> None:
    for name in PRICES:
        if name not in names:
            raise SchemaMismatch(f"bars.{name}", "is required; columns are", names)
    for name in names:
        if name not in _ALLOWED:
            raise SchemaMismatch(f"bars.{name}", f"is not one of {', '.join(_COLUMNS)}")


def resample(bars: pl.DataFrame, interval_from: str, interval_to: str) -> pl.DataFrame:
    """Return the complete coarser bars of a frame of finer ones; see :meth:`Resampler.push`.

    Examples
    --------
    >>> from research.market.bars import on_clock
    >>> minutes = pl.DataFrame({
    ...     "ts": pl.Series([0, 60, 180, 240, 300], dtype=pl.Int64).cast(pl.Duration("ns")) * 10**9 + pl.Series(
    ...         [0] * 5, dtype=pl.Int64).cast(TS),
    ...     "open": [1.0, 2.0, 4.0, 5.0, 6.0], "high": 9.0, "low": 1.0, "close": [2.0, 3.0, 5.0, 6.0, 7.0],
    ... })
    >>> resample(on_clock(minutes, "1m"), "1m", "3m")["bar_count"].to_list()
    [2, 3]
    """
    return Resampler(interval_from, interval_to).push(bars)
