"""Bars from trades: prices, volumes by the taker's side, sizes, large trades and the footprint. It reads no file.

A bar without trades stays in the clock: volumes and counts of 0, prices NaN, nothing filled forward.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.market.bars import SCHEMAS, conform
from research.market.event_bars import (
    LAST,
    EventBars,
    epoch_time,
    event_arrays,
    event_columns,
    positive,
    refuse,
    tick_ratio,
    whole,
)
from research.market.trade_kernels import (
    CLAMPED,
    COLUMNS,
    COUNTS,
    LAST_PRICE,
    LAST_QTY,
    LAST_SIDE,
    LAST_TRADE,
    MARKS,
    REPEATED,
    RULES,
    STATE_SIZE,
    aggregate_trades,
    check_trades,
)


class TradeBars(EventBars):
    """Build bars as trades arrive, in chunks of any size with the same result.

    Parameters
    ----------
    interval : str
        A key of :data:`research.market.bars.INTERVALS`.
    tick_size : float
        Price step of the market, in quote. A price between two ticks counts at the nearer one in the footprint.
    large_quote : float
        Price times quantity from which on a trade is large, in quote.
    imbalance_factor : float
        How far one side of the footprint must outweigh the other, see
        :func:`~research.market.trade_footprint.read_footprint`.
    level_ticks : int
        Ticks per level of the footprint. A bar holds 4,096 levels, and ``clamped`` counts the trades that lay beyond:
        at 1 cent, BTCUSDT leaves them within a minute (measured on 8 August 2024: 4,343 of 9,757 trades), at 10 not.
    start : datetime or int, optional
        UTC time (or ns) from which on the trades are complete: bars begin with the first that opens then or later.
        Where it is not told, they begin with the first that opens at the first trade or later.

    Examples
    --------
    >>> bars = TradeBars("1m", 0.1)
    >>> trades = pl.DataFrame(
    ...     {"ts": [0, 10, 70], "trade_id": ["a", "b", "c"], "price": [9.0, 9.1, 9.2], "qty": [1.0, 2.0, 4.0],
    ...      "side": [-1, 1, 1]}
    ... ).with_columns(pl.from_epoch("ts").cast(pl.Datetime("ns", "UTC")))
    >>> bars.push(trades).select("open", "close", "volume", "taker_buy_volume", "footprint_poc").rows()
    [(9.0, 9.1, 3.0, 2.0, 9.1)]
    >>> bars.push(None, until=180 * 10**9)["volume"].to_list()
    [4.0, 0.0]
    """

    __slots__ = ("_arguments",)

    def __init__(
        self, interval: str, tick_size: float, large_quote: float = 100_000.0, imbalance_factor: float = 3.0,
        level_ticks: int = 1, start: datetime | int | None = None,
    ) -> None:  # fmt: skip
        numerator, denominator = tick_ratio(tick_size)
        large, factor = positive(large_quote, "large_quote"), positive(imbalance_factor, "imbalance_factor")
        ticks = whole(level_ticks, "level_ticks", 1, 1_000_000)
        self._arguments = (ticks, numerator, denominator, large, factor)
        identity = f"trade bars 1 {float(tick_size)!r} {large!r} {factor!r} {ticks}"
        marks, state = np.zeros(MARKS, np.int64), np.zeros(STATE_SIZE)
        super().__init__(interval, start, identity, COLUMNS, COUNTS, marks, state)

    @property
    def clamped(self) -> int:
        """Trades whose price was beyond the levels of their bar."""
        return int(self._marks[CLAMPED])

    @property
    def repeated(self) -> int:
        """Trades left out because they were the trade before, told twice."""
        return int(self._marks[REPEATED])

    def push(self, trades: pl.DataFrame | None, until: datetime | int | None = None) -> pl.DataFrame:
        """Take the next trades and return the bars that are closed by them.

        Parameters
        ----------
        trades : polars.DataFrame, optional
            Columns of ``SCHEMAS["trades"]`` in order of time. A trade with the time and id of the one before is that
            trade told twice (by a reconnected stream, or where two files meet): it is left out and counted.
        until : datetime or int, optional
            UTC time (or ns): all trades before it were pushed. Closes the bars that end by then.

        Returns
        -------
        polars.DataFrame
            ``ts`` (open time) and :data:`COLUMNS`; units as in ``INPUTS``.

        Raises
        ------
        SchemaMismatch
            If a column is missing, unknown or of another type.
        InvalidInput
            If a row breaks a rule or differs from the trade that it repeats; nothing of the push is taken.
        """
        reached = epoch_time(until, "until")
        frame = conform(pl.DataFrame(schema=SCHEMAS["trades"]) if trades is None else trades, "trades", "trades")
        ts, price, qty, side = event_arrays(frame)
        ids = frame["trade_id"]
        again = self._again(ids, ts, price, qty, side)
        if again.any():
            rows = np.flatnonzero(~again)
            out = self._advance(ts[rows], price[rows], qty[rows], side[rows], reached, rows)
            self._marks[REPEATED] += ts.size - rows.size
        else:
            out = self._advance(ts, price, qty, side, reached)
        if ts.size:
            self._text = ids[-1] or ""
        return self._frame(out)

    def push_arrays(
        self, ts: ArrayLike, price: ArrayLike, qty: ArrayLike, side: ArrayLike, until: datetime | int | None = None
    ) -> tuple[IntArray, dict[str, FloatArray]]:
        """Take the next trades as arrays; return the open times (ns) and the columns of the bars that are closed.

        :meth:`push` without frames and without ids: a trade told twice counts twice.

        Parameters
        ----------
        ts : (n,) array_like of int
            Times, ns.
        price, qty, side : (n,) array_like
            As in :meth:`push`.
        until : datetime or int, optional
            As in :meth:`push`.
        """
        given = {"ts": (ts, np.int64), "price": (price, np.float64), "qty": (qty, np.float64), "side": (side, np.int8)}
        times, prices, quantities, sides = event_columns(given, "trades")
        out = self._advance(times, prices, quantities, sides, epoch_time(until, "until"))
        if times.size:
            self._text = ""
        return self._bars(out)

    def _advance(
        self, ts: IntArray, price: FloatArray, qty: FloatArray, side: NDArray[np.int8], reached: int,
        rows: IntArray | None = None,
    ) -> FloatArray:  # fmt: skip
        """Return the columns of the bars that close; ``rows`` says which of the push these trades are."""
        ticks, numerator, denominator, large, factor = self._arguments
        row, reason = check_trades(ts, price, qty, side, denominator / numerator, self._marks[LAST])
        if row >= 0:
            rule = RULES[reason]
            columns: dict[str, NDArray[Any]] = {"ts": ts, "price": price, "qty": qty, "side": side}
            refuse("trades", row if rows is None else int(rows[row]), rule, columns[rule[0]][row])
        out = self._room(ts, reached)
        closed = aggregate_trades(
            ts, price, qty, side, reached, self._step, ticks, numerator, denominator, large, factor, self._marks,
            self._state, out,
        )  # fmt: skip
        return out[:, :closed]

    def _again(
        self, ids: pl.Series, ts: IntArray, price: FloatArray, qty: FloatArray, side: NDArray[np.int8]
    ) -> NDArray[np.bool_]:
        """Return which trades have the id and the time of the one before; refuse those that differ from it."""
        same = np.zeros(ts.size, np.bool_)
        if ts.size:
            same[0] = self._text != "" and ids[0] == self._text
        if ts.size > 1:
            same[1:] = (ids[1:].eq(ids[:-1]) & (ids[1:] != "")).fill_null(False).to_numpy()  # no id: never the same
        if not same.any():
            return same
        before = np.concatenate(([self._marks[LAST_TRADE]], ts[:-1]))
        same &= ts == before
        for name, values, last in (
            ("price", price, self._state[LAST_PRICE]),
            ("qty", qty, self._state[LAST_QTY]),
            ("side", side, self._marks[LAST_SIDE]),
        ):
            differs = np.flatnonzero(same & (values != np.concatenate(([last], values[:-1]))))
            if differs.size:
                rule = f"must be that of the trade before, which has the same id {ids[int(differs[0])]}"
                raise InvalidInput(f"trades.{name}[{differs[0]}]", rule, values[differs[0]].item())
        return same


def trade_bars(
    trades: pl.DataFrame, interval: str, tick_size: float, large_quote: float = 100_000.0,
    imbalance_factor: float = 3.0, level_ticks: int = 1, start: datetime | int | None = None,
    until: datetime | int | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return the bars of a frame of trades; see :class:`TradeBars`.

    Examples
    --------
    >>> trades = pl.DataFrame({"ts": [0, 61], "trade_id": ["a", "b"], "price": 9.0, "qty": 2.0, "side": 1})
    >>> trades = trades.with_columns(pl.from_epoch("ts").cast(pl.Datetime("ns", "UTC")))
    >>> trade_bars(trades, "1m", 0.1, large_quote=18.0).select("turnover", "large_buy_volume", "large_count").rows()
    [(18.0, 2.0, 1)]
    """
    return TradeBars(interval, tick_size, large_quote, imbalance_factor, level_ticks, start).push(trades, until)
