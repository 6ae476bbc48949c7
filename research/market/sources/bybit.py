"""Bybit's public history as conforming frames: bars, mark, funding, open interest, account ratio, instruments.

It needs no key, places no order and writes no file. What each endpoint takes and gives: Bybit's v5 documentation,
https://bybit-exchange.github.io/docs/v5/market/kline and its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl

from research.errors import InvalidInput
from research.market.bars import INTERVALS, NS_PER_MS, SCHEMAS, epoch_ns, interval_ns
from research.market.instruments import Instrument
from research.market.sources import bybit_rows
from research.market.sources.bybit_instrument import instrument as build_instrument
from research.market.sources.bybit_paging import Answer, Feed, Page, pages
from research.market.sources.bybit_rest import BybitRest
from research.market.sources.funding_intervals import CONTEXT_ROWS, NS_PER_HOUR, funding_interval_hours

VENUE = "bybit"
MARKETS = ("linear", "spot")
KINDS = ("bars", "mark", "funding", "open_interest", "long_short_ratio")

# Bybit's names of our intervals; it has no klines of 8 hours.
KLINE_INTERVALS = {name: "D" if name == "1d" else str(minutes) for name, minutes in INTERVALS.items() if name != "8h"}
PERIODS = {"5m": "5min", "15m": "15min", "30m": "30min", "1h": "1h", "4h": "4h", "1d": "1d"}
KLINE_LIMIT, FUNDING_LIMIT, OPEN_INTEREST_LIMIT, RATIO_LIMIT = 1_000, 200, 200, 500
CONTEXT_NS = CONTEXT_ROWS * 8 * NS_PER_HOUR  # enough for the rows that decide about an interval; 128 rows at most
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9-]{1,39}")  # also keeps a stray & or = out of the address: pybit does not quote


class BybitSource:
    """Bybit's public market data over REST.

    Parameters
    ----------
    endpoint : str, optional
        Base address; Bybit's main net where left out.
    now_ms : callable
        Wall clock in milliseconds since the epoch.
    sleep : callable
        Wait for a number of seconds.
    rng : numpy.random.Generator
        Jitter of the waits between tries.
    requests_per_second : float
        Pace; see :class:`~research.market.sources.bybit_rest.BybitRest`.
    attempts : int
        Tries of one request.
    timeout_s : float
        Of one try.

    Notes
    -----
    A row is given only when it is final both by ``now_ms`` and by the exchange's clock in the reply, so a clock that
    runs ahead cannot let an open bar in. Use it as a context manager, or call :meth:`close`.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        now_ms: Callable[[], int],
        sleep: Callable[[float], None],
        rng: np.random.Generator,
        requests_per_second: float = 20.0,
        attempts: int = 6,
        timeout_s: float = 10.0,
    ) -> None:
        self._now_ms = now_ms
        self._rest = BybitRest(
            endpoint,
            now_ms=now_ms,
            sleep=sleep,
            rng=rng,
            requests_per_second=requests_per_second,
            attempts=attempts,
            timeout_s=timeout_s,
        )

    def __enter__(self) -> BybitSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._rest.close()

    def bars(self, market: str, symbol: str, interval: str, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Return closed bars with ``start_ns <= ts < end_ns``; volume in base, turnover in quote units."""
        return self._whole("bars", symbol, start_ns, end_ns, market=market, interval=interval)

    def mark(self, symbol: str, interval: str, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Return closed mark-price bars of a perpetual."""
        return self._whole("mark", symbol, start_ns, end_ns, interval=interval)

    def funding(self, symbol: str, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Return settlements; ``interval_hours`` by :func:`~.funding_intervals.funding_interval_hours`."""
        return self._whole("funding", symbol, start_ns, end_ns)

    def open_interest(self, symbol: str, period: str, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Return open interest in base units, known from ``available_ts`` on (``ts`` plus the period)."""
        return self._whole("open_interest", symbol, start_ns, end_ns, interval=period)

    def long_short_ratio(self, symbol: str, period: str, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Return the shares of accounts net long and net short, known from ``available_ts`` on."""
        return self._whole("long_short_ratio", symbol, start_ns, end_ns, interval=period)

    def instrument(
        self,
        market: str,
        symbol: str,
        *,
        from_ns: int = 0,
        taker_fee_bps: float | None = None,
        maker_fee_bps: float | None = None,
    ) -> Instrument:
        """Return today's terms of an instrument; see :func:`~.bybit_instrument.instrument`."""
        self._check(market, symbol)
        return build_instrument(
            self._rest, market, symbol, from_ns=from_ns, taker_fee_bps=taker_fee_bps, maker_fee_bps=maker_fee_bps
        )

    def pages(
        self,
        kind: str,
        symbol: str,
        start_ns: int,
        end_ns: int,
        *,
        market: str = "linear",
        interval: str | None = None,
    ) -> Iterator[Page]:
        """Yield a series in consecutive windows, oldest first, each one reply long.

        Store each page as it comes: a download that stops leaves a gapless stretch and goes on from its newest row.
        Nothing is asked for before the first page is drawn, but arguments are checked at once.

        Parameters
        ----------
        kind : str
            One of :data:`KINDS`.
        symbol : str
            As Bybit writes it.
        start_ns, end_ns : int
            First ``ts`` wanted and the one after the last.
        market : str
            ``linear`` or, for bars, ``spot``.
        interval : str, optional
            Of bars and mark a kline interval, of open interest and account ratio a period, of funding none.

        Raises
        ------
        InvalidInput
            If an argument is not one that Bybit serves.
        RefusedBySource, RetryLater
            While drawing pages: a final refusal, or no answer.
        """
        if kind not in KINDS:
            raise InvalidInput("kind", f"must be one of {', '.join(KINDS)}", kind)
        if start_ns > end_ns:
            raise InvalidInput("start_ns", f"must not be later than end_ns {end_ns}", start_ns)
        self._check(market, symbol)
        if market != "linear" and kind != "bars":
            raise InvalidInput("market", f"must be linear for {kind}: spot has none", market)
        feed = self._feed(kind, market, symbol, interval)
        daily = self._feed(kind, market, symbol, "1d") if kind != "funding" and interval != "1d" else None
        found = pages(feed, start_ns, end_ns, self._now_ms() * NS_PER_MS, daily)
        return self._dated(feed, found, start_ns) if kind == "funding" else found

    def _whole(
        self, kind: str, symbol: str, start_ns: int, end_ns: int, market: str = "linear", interval: str | None = None
    ) -> pl.DataFrame:
        found = self.pages(kind, symbol, start_ns, end_ns, market=market, interval=interval)
        return pl.concat([pl.DataFrame(schema=SCHEMAS[kind]), *(page.frame for page in found)])

    def _check(self, market: str, symbol: str) -> None:
        if market not in MARKETS:
            raise InvalidInput("market", f"must be one of {', '.join(MARKETS)}", market)
        if not _SYMBOL.fullmatch(symbol):
            raise InvalidInput("symbol", "must be upper-case letters, digits and hyphens, as Bybit writes it", symbol)

    def _feed(self, kind: str, market: str, symbol: str, interval: str | None) -> Feed:
        """Return what to ask, how, and when its rows are final."""
        http, span, fixed = self._rest.http, ("startTime", "endTime"), {"category": market, "symbol": symbol}
        call: Callable[..., Any]
        decode: bybit_rows.Decoder
        subject = f"{VENUE} {market} {symbol} {kind}" + (f" {interval}" if interval else "")
        if kind == "funding":
            if interval is not None:
                raise InvalidInput("interval", "must be left out for funding", interval)
            guess = 8 * NS_PER_HOUR
            call, decode, step, limit, known = (
                http.get_funding_rate_history, bybit_rows.funding, guess, FUNDING_LIMIT, 0,
            )  # fmt: skip
        elif kind in ("bars", "mark"):
            fixed["interval"] = _named(KLINE_INTERVALS, interval, "interval")
            call, decode = (
                (http.get_kline, bybit_rows.bars) if kind == "bars" else (http.get_mark_price_kline, bybit_rows.mark)
            )
            span, limit, step = ("start", "end"), KLINE_LIMIT, interval_ns(str(interval))
            known = step
        else:
            name = _named(PERIODS, interval, "period")
            step = known = interval_ns(str(interval))
            if kind == "open_interest":
                fixed["intervalTime"], limit = name, OPEN_INTEREST_LIMIT
                call, decode = http.get_open_interest, bybit_rows.open_interest(step)
            else:
                fixed["period"], limit = name, RATIO_LIMIT
                call, decode = http.get_long_short_ratio, bybit_rows.long_short_ratio(step)

        def ask(first_ms: int, last_ms: int) -> Answer:
            # Both ends are always given: funding refuses a start alone and open interest ignores it. Going back by
            # the end time does a cursor's work, and unlike a cursor it does not shift when a new row appears.
            query = {**fixed, span[0]: first_ms, span[1]: last_ms, "limit": limit}
            reply = self._rest.ask(call, subject, query)
            frame = decode(reply.result.get("list", []), subject)
            return Answer(frame, min(self._now_ms(), reply.time_ms) * NS_PER_MS)

        return Feed(subject, ask, step, limit, known, on_grid=kind in ("bars", "mark"))

    def _dated(self, feed: Feed, found: Iterator[Page], start_ns: int) -> Iterator[Page]:
        """Yield funding pages with their intervals told from rows on both sides, whatever the page borders."""
        before: pl.DataFrame | None = None
        held: Page | None = None
        for page in found:
            if before is None:
                earlier_ms = (start_ns - CONTEXT_NS) // NS_PER_MS
                before = feed.ask(max(earlier_ms, 0), start_ns // NS_PER_MS - 1).frame.tail(CONTEXT_ROWS)
            if held is not None:
                yield _with_intervals(before, held, page.frame.head(CONTEXT_ROWS), feed.subject)
                before = pl.concat([before, held.frame]).tail(CONTEXT_ROWS)
            held = page
        if held is not None and before is not None:
            yield _with_intervals(before, held, held.frame[:0], feed.subject)


def _named(names: dict[str, str], ours: str | None, subject: str) -> str:
    if ours not in names:
        raise InvalidInput(subject, f"must be one of {', '.join(names)}", ours)
    return names[ours]


def _with_intervals(before: pl.DataFrame, page: Page, after: pl.DataFrame, subject: str) -> Page:
    ts = np.concatenate([epoch_ns(before), epoch_ns(page.frame), epoch_ns(after)])
    hours = funding_interval_hours(ts, subject)[before.height : before.height + page.frame.height]
    return Page(page.start_ns, page.end_ns, page.frame.with_columns(interval_hours=pl.Series(hours, dtype=pl.Float64)))
