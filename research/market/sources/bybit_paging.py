"""Walk a newest-first endpoint in ascending windows. It knows neither Bybit's fields nor the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from research.errors import SourceError
from research.market.bars import NS_PER_DAY, NS_PER_MS, TS, epoch_ns


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of one reply, ``ts`` ascending, and the time (ns) at which the exchange gave it."""

    frame: pl.DataFrame
    time_ns: int


@dataclass(frozen=True, slots=True)
class Page:
    """All rows of one window.

    Parameters
    ----------
    start_ns, end_ns : int
        The window, start inclusive and end exclusive. It holds no row beyond those in ``frame``.
    frame : polars.DataFrame
        Conforming rows, ``ts`` ascending; empty where the market has none.
    """

    start_ns: int
    end_ns: int
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Feed:
    """One series of one endpoint.

    Parameters
    ----------
    subject : str
        What errors name.
    ask : callable
        ``ask(first_ms, last_ms)``: the newest rows with first <= ts <= last, as many as the endpoint gives.
    step_ns : int
        Distance of two rows; on funding a guess that only sets the size of windows.
    limit : int
        Rows of one reply.
    known_after_ns : int
        A row is final this long after its ``ts``.
    on_grid : bool
        Whether every ``ts`` must be a multiple of ``step_ns``.
    """

    subject: str
    ask: Callable[[int, int], Answer]
    step_ns: int
    limit: int
    known_after_ns: int
    on_grid: bool


def pages(feed: Feed, start_ns: int, end_ns: int, now_ns: int, coarse: Feed | None = None) -> Iterator[Page]:
    """Yield consecutive windows that together cover ``[start, min(end, now))`` without hole or overlap.

    The endpoint answers newest first, but windows go **oldest first**, each of one full reply: whatever was written
    before a download stopped is one gapless stretch, and its newest row says where to go on. Walking back from the
    newest row instead would leave a hole between the old and the new part, with nothing to tell of it.

    Parameters
    ----------
    feed : Feed
        What to ask.
    start_ns, end_ns : int
        First ``ts`` wanted and the one after the last.
    now_ns : int
        Nothing later is asked for.
    coarse : Feed, optional
        The same series at one row a day. When the first window is empty (the market was not listed yet), it tells
        where to begin. Only rows that it shows are believed: where it shows none, every window is asked.

    Yields
    ------
    Page
        Rows known at the time of the reply: a bar still open is left out.
    """
    stop_ns, width = min(end_ns, now_ns), feed.limit * feed.step_ns
    begin, found = start_ns, False
    while begin < stop_ns:
        end = min(begin + width, stop_ns)
        frame = _window(feed, begin, end)
        if frame.is_empty() and not found and coarse is not None and end < stop_ns:
            end = min(max(end, _first_day(coarse, end, stop_ns)), stop_ns)
            coarse = None
        found = found or not frame.is_empty()
        yield Page(begin, end, frame)
        begin = end


def _window(feed: Feed, start_ns: int, end_ns: int) -> pl.DataFrame:
    """Return every row of ``[start, end)``, following replies back until one is empty or reaches the start.

    One reply usually does it. A reply that does not reach the start (the exchange gave fewer rows than it may, or the
    market has none there) is followed by a question for the rest, so that a short reply cannot become a hole.
    """
    first_ms, last_ms = -(-start_ns // NS_PER_MS), (end_ns - 1) // NS_PER_MS
    pieces: list[pl.DataFrame] = []
    while True:
        answer = _ask(feed, first_ms, last_ms)
        pieces.append(answer.frame.filter(pl.col("ts") <= _at_ns(answer.time_ns - feed.known_after_ns)))
        if answer.frame.is_empty():
            break
        last_ms = int(epoch_ns(answer.frame)[0]) // NS_PER_MS - 1
        spacing = feed.step_ns // NS_PER_MS if feed.on_grid else 1
        if last_ms // spacing <= (first_ms - 1) // spacing:
            break  # no time that a row could have is left in the window
    return pl.concat(pieces[::-1])


def _ask(feed: Feed, first_ms: int, last_ms: int) -> Answer:
    """Return an answer whose rows are those asked for, one per time, in order."""
    answer = feed.ask(first_ms, last_ms)
    rows = answer.frame.filter(pl.col("ts").is_between(_at_ns(first_ms * NS_PER_MS), _at_ns(last_ms * NS_PER_MS)))
    if rows.is_empty() and not answer.frame.is_empty():
        raise SourceError(f"{feed.subject}: only rows outside the time asked for ({first_ms} to {last_ms} ms)")
    ts = epoch_ns(rows)
    if feed.on_grid and (ts % feed.step_ns).any():
        raise SourceError(f"{feed.subject}: a row's time is off the grid of {feed.step_ns} ns")
    if (ts[1:] <= ts[:-1]).any():
        raise SourceError(f"{feed.subject}: two different rows of one time in a reply")
    return Answer(rows, answer.time_ns)


def _first_day(coarse: Feed, start_ns: int, stop_ns: int) -> int:
    """Return a time from which rows may exist: a day before the oldest daily row, or ``start_ns`` where none shows."""
    begin = start_ns // NS_PER_DAY * NS_PER_DAY
    last = stop_ns + NS_PER_DAY  # the day of the end itself may be the first one
    while begin < last:
        end = min(begin + coarse.limit * NS_PER_DAY, last)
        answer = _ask(coarse, -(-begin // NS_PER_MS), (end - 1) // NS_PER_MS)
        if not answer.frame.is_empty():
            return int(epoch_ns(answer.frame)[0]) - NS_PER_DAY
        begin = end
    return start_ns


def _at_ns(ns: int) -> pl.Expr:
    return pl.lit(ns, dtype=pl.Int64).cast(TS)
