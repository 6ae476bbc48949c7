"""Bars from the updates of an order book: quote, depth, spread, order flow imbalance and walls. It reads no file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.market.bars import SCHEMAS, conform
from research.market.book_kernels import (
    ASKS,
    BIDS,
    CROSSED,
    DROPPED,
    MARKS,
    RULES,
    SKIPPED,
    STATE_SIZE,
    aggregate_book,
    check_book_rows,
)
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


def book_columns(depths: Sequence[int] = (5, 10, 20)) -> list[str]:
    """Return the columns of book bars after ``ts``.

    Examples
    --------
    >>> book_columns([3])[:6]
    ['bid_price', 'ask_price', 'bid_size', 'ask_size', 'bid_depth_3', 'ask_depth_3']
    """
    pairs = ["price", "size", *(f"depth_{depth}" for depth in depths)]
    walls = ["wall_size", "wall_distance", "wall_age"]
    both = [[f"{side}_{name}" for name in names for side in ("bid", "ask")] for names in (pairs, walls)]
    return [*both[0], "spread_mean", "order_flow_imbalance", *both[1]]


class BookBars(EventBars):
    """Keep an order book from snapshots and deltas, and build bars of it, in chunks of any size with the same result.

    Parameters
    ----------
    interval : str
        A key of :data:`research.market.bars.INTERVALS`.
    tick_size : float
        Price step of the market, in quote.
    depths : sequence of int
        Levels that are summed on each side, increasing.
    wall_factor : float
        Times the average size of ``wall_levels`` levels from which on the largest of them is a wall.
    wall_levels : int
        Best levels of a side among which its wall is sought.
    capacity : int
        Levels held per side; ``dropped_levels`` counts the worst ones that gave way.
    start : datetime or int, optional
        UTC time (or ns) from which on bars are told, NaN until there is a book: the first that opens then or later.
        Where it is not told, they begin with the first that opens at the first row or later.

    Notes
    -----
    The book is looked at after all rows of an update, which are those in a row that agree in time, id and kind. An
    update in which the best bid does not stay below the best ask voids the book until the next snapshot. Deltas that
    come before a snapshot, or with an id that is not above the newest one taken, are skipped: they are older than the
    book (Binance starts a stream before its snapshot) or told twice. Ids that leap are not seen, since every venue
    counts in its own way: the caller who sees a gap must push a new snapshot.

    A bar is NaN throughout where no book with both sides stands at its close. Otherwise ``spread_mean`` is the mean
    over the time of the bar in which one stood, and ``order_flow_imbalance`` is NaN unless one stood all the time. A
    wall ages from the update in which its price first held it, for as long as no update gives it to another price.

    The order flow imbalance is that of R. Cont, A. Kukanov, S. Stoikov, The Price Impact of Order Book Events, Journal
    of Financial Econometrics 12 (2014) 47-88, summed over the updates of the bar.

    Examples
    --------
    >>> rows = pl.DataFrame(
    ...     {"ts": [0, 0, 0, 30], "update_id": [1, 1, 1, 2], "is_snapshot": [True, True, True, False],
    ...      "side": [1, 1, -1, 1], "price": [9.8, 9.9, 10.0, 9.9], "qty": [2.0, 5.0, 3.0, 0.0]}
    ... ).with_columns(pl.from_epoch("ts").cast(pl.Datetime("ns", "UTC")))
    >>> bars = BookBars("1m", 0.1, depths=[2])
    >>> bars.push(rows).height, bars.levels("bid")
    (0, [(9.8, 2.0)])
    >>> bar = bars.push(None, until=60 * 10**9)
    >>> bar.select("bid_price", "ask_price", "bid_depth_2", "order_flow_imbalance").rows()
    [(9.8, 10.0, 2.0, -5.0)]
    >>> round(bar["spread_mean"][0], 12)
    0.15
    """

    __slots__ = ("_capacity", "_depths", "_ratio", "_walls")

    def __init__(
        self, interval: str, tick_size: float, depths: Sequence[int] = (5, 10, 20), wall_factor: float = 5.0,
        wall_levels: int = 50, capacity: int = 16_384, start: datetime | int | None = None,
    ) -> None:  # fmt: skip
        self._ratio = tick_ratio(tick_size)
        self._capacity = whole(capacity, "capacity", 1, 10_000_000)
        summed = [whole(depth, "depths", 1, 1_000_000) for depth in depths]
        if not summed or any(a >= b for a, b in pairwise(summed)):
            raise InvalidInput("depths", "must be increasing, and at least one", list(depths))
        self._depths = np.array(summed, np.int64)
        self._walls = whole(wall_levels, "wall_levels", 1, 1_000_000), positive(wall_factor, "wall_factor")
        identity = f"book bars 1 {float(tick_size)!r} {summed} {self._walls} {self._capacity}"
        marks = np.zeros(MARKS + 2 * self._capacity, np.int64)
        state = np.zeros(STATE_SIZE + 2 * self._capacity)
        super().__init__(interval, start, identity, book_columns(summed), (), marks, state)

    @property
    def skipped_updates(self) -> int:
        """Deltas that came without a snapshot before them, or were not newer than the book."""
        return int(self._marks[SKIPPED])

    @property
    def crossed_updates(self) -> int:
        """Updates that left a best bid not below the best ask, and so voided the book."""
        return int(self._marks[CROSSED])

    @property
    def dropped_levels(self) -> int:
        """Levels left out because a side was full."""
        return int(self._marks[DROPPED])

    def levels(self, side: str, count: int = 1) -> list[tuple[float, float]]:
        """Return price and size of the best levels of a side (``"bid"`` or ``"ask"``), the best first.

        The book as the rows have left it, in the middle of an update too.
        """
        if side not in ("bid", "ask"):
            raise InvalidInput("side", "must be 'bid' or 'ask'", side)
        held = int(self._marks[BIDS if side == "bid" else ASKS])
        first = 0 if side == "bid" else self._capacity
        best = slice(first + max(held - count, 0), first + held)
        keys, sizes = self._marks[MARKS:][best][::-1], self._state[STATE_SIZE:][best][::-1]
        numerator, denominator = self._ratio
        return [(abs(int(k)) * numerator / denominator, float(q)) for k, q in zip(keys, sizes, strict=True)]

    def push(self, rows: pl.DataFrame | None, until: datetime | int | None = None) -> pl.DataFrame:
        """Take the next rows and return the bars that are closed by them.

        Parameters
        ----------
        rows : polars.DataFrame, optional
            Columns of ``SCHEMAS["book"]`` in order of time.
        until : datetime or int, optional
            UTC time (or ns): all rows before it were pushed. Closes the bars that end by then.

        Returns
        -------
        polars.DataFrame
            ``ts`` (open time) and :func:`book_columns`; units as in ``INPUTS``.

        Raises
        ------
        SchemaMismatch
            If a column is missing, unknown or of another type.
        InvalidInput
            If a row breaks a rule; nothing of the push is taken.
        """
        reached = epoch_time(until, "until")
        frame = conform(pl.DataFrame(schema=SCHEMAS["book"]) if rows is None else rows, "book", "book")
        ts, update_id, is_snapshot, side, price, qty = event_arrays(frame)
        return self._frame(self._advance(ts, update_id, is_snapshot, side, price, qty, reached))

    def push_arrays(
        self, ts: ArrayLike, update_id: ArrayLike, is_snapshot: ArrayLike, side: ArrayLike, price: ArrayLike,
        qty: ArrayLike, until: datetime | int | None = None,
    ) -> tuple[IntArray, dict[str, FloatArray]]:  # fmt: skip
        """Take the next rows as arrays; return the open times (ns) and the columns of the bars that are closed.

        Parameters
        ----------
        ts : (n,) array_like of int
            Times, ns.
        update_id, is_snapshot, side, price, qty : (n,) array_like
            As in :meth:`push`.
        until : datetime or int, optional
            As in :meth:`push`.
        """
        given: dict[str, tuple[ArrayLike, Any]] = {
            "ts": (ts, np.int64), "update_id": (update_id, np.int64), "is_snapshot": (is_snapshot, np.int8),
            "side": (side, np.int8), "price": (price, np.float64), "qty": (qty, np.float64),
        }  # fmt: skip
        times, ids, kinds, sides, prices, quantities = event_columns(given, "book")
        return self._bars(self._advance(times, ids, kinds, sides, prices, quantities, epoch_time(until, "until")))

    def _advance(
        self, ts: IntArray, update_id: IntArray, is_snapshot: NDArray[np.int8], side: NDArray[np.int8],
        price: FloatArray, qty: FloatArray, reached: int,
    ) -> FloatArray:  # fmt: skip
        numerator, denominator = self._ratio
        last = self._marks[LAST]
        row, reason = check_book_rows(ts, update_id, is_snapshot, side, price, qty, denominator / numerator, last)
        if row >= 0:
            columns: dict[str, NDArray[Any]] = {
                "ts": ts, "update_id": update_id, "is_snapshot": is_snapshot, "side": side, "price": price, "qty": qty
            }  # fmt: skip
            refuse("book", row, RULES[reason], columns[RULES[reason][0]][row])
        out = self._room(ts, reached)
        wall_levels, wall_factor = self._walls
        closed = aggregate_book(
            ts, update_id, is_snapshot, side, price, qty, reached, self._step, self._depths, wall_levels, wall_factor,
            numerator, denominator, self._capacity, self._marks, self._state, out,
        )  # fmt: skip
        return out[:, :closed]

    def _kept(self) -> tuple[IntArray, FloatArray]:
        held = [slice(0, int(self._marks[BIDS])), slice(self._capacity, self._capacity + int(self._marks[ASKS]))]
        marks = [self._marks[:MARKS], *(self._marks[MARKS:][side] for side in held)]
        state = [self._state[:STATE_SIZE], *(self._state[STATE_SIZE:][side] for side in held)]
        return np.concatenate(marks), np.concatenate(state)

    def _take(self, marks: IntArray, state: FloatArray) -> bool:
        if marks.size < MARKS or state.size - STATE_SIZE != marks.size - MARKS:
            return False
        bids, asks = int(marks[BIDS]), int(marks[ASKS])
        if not (0 <= bids <= self._capacity and 0 <= asks <= self._capacity and MARKS + bids + asks == marks.size):
            return False
        for mine, theirs, size in ((self._marks, marks, MARKS), (self._state, state, STATE_SIZE)):
            mine[:size] = theirs[:size]
            mine[size : size + bids] = theirs[size : size + bids]
            mine[size + self._capacity :][:asks] = theirs[size + bids :]
        return True


def book_bars(
    rows: pl.DataFrame, interval: str, tick_size: float, depths: Sequence[int] = (5, 10, 20), wall_factor: float = 5.0,
    wall_levels: int = 50, capacity: int = 16_384, start: datetime | int | None = None,
    until: datetime | int | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Return the bars of a frame of book rows; see :class:`BookBars`.

    Examples
    --------
    >>> rows = pl.DataFrame({"ts": [0, 0], "update_id": 1, "is_snapshot": True, "side": [1, -1], "price": [9.9, 10.0],
    ...                      "qty": [5.0, 3.0]}).with_columns(pl.from_epoch("ts").cast(pl.Datetime("ns", "UTC")))
    >>> book_bars(rows, "1m", 0.1, until=120 * 10**9)["ask_depth_20"].to_list()
    [3.0, 3.0]
    """
    return BookBars(interval, tick_size, depths, wall_factor, wall_levels, capacity, start).push(rows, until)
