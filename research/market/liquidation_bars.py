"""Bars from liquidations: how much of longs and of shorts was closed by force. It reads no file."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from research.errors import SchemaMismatch
from research.kernel import FloatArray, IntArray, kernel
from research.market.bars import TS
from research.market.event_bars import (
    BAR,
    LAST,
    MAX_VALUE,
    TOLD,
    EventBars,
    epoch_time,
    event_arrays,
    event_columns,
    refuse,
)

# Columns of a frame of liquidations. ``side`` is that of the order that closes the position: -1 sells a long, +1 buys
# back a short. Bybit tells the side of the position instead ("Buy": a long), so that its source turns it round.
LIQUIDATIONS: dict[str, pl.DataType | type[pl.DataType]] = {
    "ts": TS, "side": pl.Int8, "price": pl.Float64, "qty": pl.Float64
}  # fmt: skip
COLUMNS = ("long_liquidation_volume", "short_liquidation_volume")

_MARKS, _STATE = 3, 2  # the state holds the sums of the bar under way, as COLUMNS
_TIME, _SIDE, _PRICE, _QTY = range(4)
_RULES = {
    _TIME: ("ts", "must not be earlier than the liquidation before it, nor in a bar that is closed; ns"),
    _SIDE: ("side", "must be -1 (a long was sold) or 1 (a short was bought back)"),
    _PRICE: ("price", "must be above 0 and at most 1e150"),
    _QTY: ("qty", "must be above 0 and at most 1e150"),
}


@kernel
def check_liquidations(ts, side, price, qty, last):
    """Return the first row that breaks a rule and which one it is: (row, reason), (-1, 0) where there is none."""
    for i in range(ts.shape[0]):
        if ts[i] < last:
            return i, _TIME
        last = ts[i]
        if side[i] != 1 and side[i] != -1:
            return i, _SIDE
        if not 0.0 < price[i] <= MAX_VALUE:
            return i, _PRICE
        if not 0.0 < qty[i] <= MAX_VALUE:
            return i, _QTY
    return -1, 0


@kernel
def aggregate_liquidations(ts, side, qty, until, step, marks, state, out):
    """Advance the bar under way by the liquidations of a chunk.

    Parameters
    ----------
    ts : (n,) array of int64
        Times, ns, that do not decrease; checked by :func:`check_liquidations` as the rest is.
    side : (n,) array of int8
        -1 a long was sold, +1 a short was bought back.
    qty : (n,) array of float64
        In base.
    until : int
        Time that the clock has come to, ns; -1: no later than the rows.
    step : int
        Length of a bar, ns.
    marks : (3,) array of int64
        Clock; updated in place.
    state : (2,) array of float64
        Sums of the bar under way; updated in place.
    out : (3, m) array of float64
        Number of each bar that closes (its open time divided by ``step``), volume of longs, volume of shorts.

    Returns
    -------
    int
        Bars closed.
    """
    n, closed = ts.shape[0], 0
    if marks[BAR] == 0:
        if n == 0:
            return 0
        marks[BAR] = -(-ts[0] // step) + 1
    for i in range(n + 1):
        # The last round has no row: it only closes the bars that the clock has left behind.
        now = ts[i] if i < n else max(marks[LAST], until // step * step)
        while now >= (marks[BAR] - 1) * step:
            out[0, closed] = marks[BAR] - 2
            out[1:, closed] = state
            closed += marks[TOLD]
            marks[TOLD] = 1
            marks[BAR] += 1
            state[:] = 0.0
        marks[LAST] = now
        if i < n:
            state[0 if side[i] < 0 else 1] += qty[i]
    return closed


class LiquidationBars(EventBars):
    """Build bars as liquidations arrive, in chunks of any size with the same result.

    Parameters
    ----------
    interval : str
        A key of :data:`research.market.bars.INTERVALS`.
    start : datetime or int, optional
        UTC time (or ns) from which on the liquidations are complete: bars begin with the first that opens then or
        later. Where it is not told, they begin with the first that opens at the first liquidation or later.

    Notes
    -----
    Volumes are 0 where nothing was liquidated; a stream that is down looks the same. Binance publishes one liquidation
    per symbol and second at most, so that its volumes are a lower bound.

    Examples
    --------
    >>> bars = LiquidationBars("1m", start=0)
    >>> opens, columns = bars.push_arrays([5 * 10**9, 130 * 10**9], [-1, 1], [9.0, 9.0], [2.0, 3.0], until=180 * 10**9)
    >>> columns["long_liquidation_volume"].tolist(), columns["short_liquidation_volume"].tolist()
    ([2.0, 0.0, 0.0], [0.0, 0.0, 3.0])
    """

    __slots__ = ()

    def __init__(self, interval: str, start: datetime | int | None = None) -> None:
        marks, state = np.zeros(_MARKS, np.int64), np.zeros(_STATE)
        super().__init__(interval, start, "liquidation bars 1", COLUMNS, (), marks, state)

    def push(self, liquidations: pl.DataFrame | None, until: datetime | int | None = None) -> pl.DataFrame:
        """Take the next liquidations and return the bars that are closed by them.

        Parameters
        ----------
        liquidations : polars.DataFrame, optional
            Columns of :data:`LIQUIDATIONS` in order of time.
        until : datetime or int, optional
            UTC time (or ns): all liquidations before it were pushed. Closes the bars that end by then.

        Returns
        -------
        polars.DataFrame
            ``ts`` (open time) and :data:`COLUMNS`, in base.

        Raises
        ------
        SchemaMismatch
            If a column is missing, unknown or of another type.
        InvalidInput
            If a row breaks a rule; nothing of the push is taken.
        """
        reached = epoch_time(until, "until")
        frame = pl.DataFrame(schema=LIQUIDATIONS) if liquidations is None else _conforming(liquidations)
        ts, side, price, qty = event_arrays(frame)
        return self._frame(self._advance(ts, side, price, qty, reached))

    def push_arrays(
        self, ts: ArrayLike, side: ArrayLike, price: ArrayLike, qty: ArrayLike, until: datetime | int | None = None
    ) -> tuple[IntArray, dict[str, FloatArray]]:
        """Take the next liquidations as arrays; return the open times (ns) and the columns of the closed bars.

        Parameters
        ----------
        ts : (n,) array_like of int
            Times, ns.
        side, price, qty : (n,) array_like
            As in :meth:`push`.
        until : datetime or int, optional
            As in :meth:`push`.
        """
        given: dict[str, tuple[ArrayLike, Any]] = {
            "ts": (ts, np.int64), "side": (side, np.int8), "price": (price, np.float64), "qty": (qty, np.float64)
        }  # fmt: skip
        times, sides, prices, quantities = event_columns(given, "liquidations")
        return self._bars(self._advance(times, sides, prices, quantities, epoch_time(until, "until")))

    def _advance(
        self, ts: IntArray, side: NDArray[np.int8], price: FloatArray, qty: FloatArray, reached: int
    ) -> FloatArray:
        row, reason = check_liquidations(ts, side, price, qty, self._marks[LAST])
        if row >= 0:
            columns: dict[str, NDArray[Any]] = {"ts": ts, "side": side, "price": price, "qty": qty}
            refuse("liquidations", row, _RULES[reason], columns[_RULES[reason][0]][row])
        out = self._room(ts, reached)
        closed = aggregate_liquidations(ts, side, qty, reached, self._step, self._marks, self._state, out)
        return out[:, :closed]


def _conforming(frame: pl.DataFrame) -> pl.DataFrame:
    """Return liquidations with exactly the columns and types of the kind."""
    if sorted(frame.columns) != sorted(LIQUIDATIONS):
        raise SchemaMismatch("liquidations", f"must have the columns {', '.join(LIQUIDATIONS)}", frame.columns)
    for name, dtype in frame.schema.items():
        if name == "ts" and not (isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"):
            raise SchemaMismatch("liquidations.ts", "must be a UTC datetime", str(dtype))
        if name != "ts" and not (dtype.is_integer() or (dtype.is_float() and name != "side")):
            raise SchemaMismatch(f"liquidations.{name}", f"must be {LIQUIDATIONS[name]}", str(dtype))
    return frame.select(pl.col(name).cast(dtype, strict=False) for name, dtype in LIQUIDATIONS.items())


def liquidation_bars(
    liquidations: pl.DataFrame, interval: str, start: datetime | int | None = None, until: datetime | int | None = None
) -> pl.DataFrame:
    """Return the bars of a frame of liquidations; see :class:`LiquidationBars`.

    Examples
    --------
    >>> rows = pl.DataFrame({"ts": [0, 61], "side": [-1, 1], "price": 9.0, "qty": [2.0, 4.0]})
    >>> rows = rows.with_columns(pl.from_epoch("ts").cast(TS))
    >>> liquidation_bars(rows, "1m", until=120 * 10**9)["short_liquidation_volume"].to_list()
    [0.0, 4.0]
    """
    return LiquidationBars(interval, start).push(liquidations, until)
