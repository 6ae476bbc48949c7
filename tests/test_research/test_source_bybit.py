"""Bybit's REST source against a server on loopback that pages, lags and fails as the exchange does."""

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput, RefusedBySource, RetryLater, SourceError
from research.market.bars import SCHEMAS, epoch_ns
from research.market.instruments import MarginTier
from research.market.sources.bybit import BybitSource
from research.market.sources.bybit_rest import TokenBucket

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
LISTED = 1_704_067_200_000 + 5 * HOUR  # 2024-01-01 05:00
NOW = LISTED + 10 * DAY + 30_500  # half a minute into an open bar
LIMITS = {"kline": 1_000, "mark-price-kline": 1_000, "history": 200, "open-interest": 200, "account-ratio": 500}
STEPS = {"D": 1_440, "5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1_440}


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, now_ms=NOW):
        self.ms, self.sleeps = now_ms, []

    def now_ms(self):
        return self.ms

    def sleep(self, seconds):
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.ms += round(seconds * 1_000)


class Exchange(ThreadingHTTPServer):
    """Answers newest first, at most a limit of rows, both ends inclusive, the open bar among them."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.clock, self.skew_ms, self.cap = Clock(), 0, 10_000
        self.faults, self.asked, self.halts = [], [], set()
        self.settlements = [LISTED + 3 * HOUR + 8 * HOUR * i for i in range(30)]
        self.instruments, self.tiers = [], []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def times(self, step, first, last):
        """Return the open times in [first, last] of what is listed and has begun."""
        low = max(first, LISTED // step * step)
        low = -(-low // step) * step
        high = min(last, self.clock.ms + self.skew_ms)
        return [t for t in range(low, high + 1, step) if t not in self.halts]

    def result(self, path, q):
        name = path.rsplit("/", 1)[1]
        if name == "instruments-info":
            return {"category": q["category"], "list": [i for i in self.instruments if i["symbol"] == q["symbol"]]}
        if name == "risk-limit":
            at = int(q.get("cursor") or 0)
            following = str(at + 2) if at + 2 < len(self.tiers) else ""
            return {"list": self.tiers[at : at + 2], "nextPageCursor": following}
        limit = min(int(q["limit"]), LIMITS[name], self.cap)
        if name.endswith("kline"):
            step = STEPS.get(q["interval"], 0) * MINUTE or int(q["interval"]) * MINUTE
            times = self.times(step, int(q["start"]), int(q["end"]))
            rows = [kline(t, step)[: 7 if name == "kline" else 5] for t in times]
        elif name == "history":
            times = [t for t in self.settlements if int(q["startTime"]) <= t <= min(int(q["endTime"]), self.clock.ms)]
            rows = [{"symbol": q["symbol"], "fundingRate": rate(t), "fundingRateTimestamp": str(t)} for t in times]
        else:
            step = STEPS[q.get("intervalTime") or q["period"]] * MINUTE
            times = self.times(step, int(q["startTime"]), int(q["endTime"]))
            rows = [
                {"openInterest": str(t % 977), "buyRatio": rate(t), "sellRatio": "0.5", "timestamp": str(t)}
                for t in times
            ]
        return {"category": q["category"], "symbol": q["symbol"], "list": rows[::-1][:limit]}


def kline(t, step):
    price = 100 + (t // step) % 97 / 2
    return [str(t), str(price), str(price + 1), str(price - 1), str(price + 0.25), str(t // step % 31), "12.5"]


def rate(t):
    return str((t // HOUR % 13 - 6) / 10_000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        exchange = self.server
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        exchange.asked.append((exchange.clock.ms, parts.path, query))
        if exchange.faults:
            fault = exchange.faults.pop(0)
            if fault is not None:
                return fault(self)
        if query.get("symbol") == "NOSUCH" and "kline" in parts.path:
            return self.envelope({}, 10001, "Not supported symbols")
        return self.envelope(exchange.result(parts.path, query))

    def envelope(self, result, code=0, message="OK", headers=()):
        time = self.server.clock.ms + self.server.skew_ms
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": time}
        self.body(json.dumps(body).encode(), headers=headers)

    def body(self, content, status=200, headers=(), length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def too_many(reset_ms=None):
    """Return a fault: 10006 with a reset so many ms from now, or without one."""

    def fault(handler):
        reset = [] if reset_ms is None else [("X-Bapi-Limit-Reset-Timestamp", str(handler.server.clock.ms + reset_ms))]
        handler.envelope({}, 10006, "Too many visits!", reset)

    return fault


def code(number):
    return lambda handler: handler.envelope({}, number, f"code {number}")


def page(status, content=b"<html>Bad gateway</html>"):
    return lambda handler: handler.body(content, status)


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def truncated(handler):
    handler.body(b'{"retCode":0,"retMsg":"OK","resu', length=500)
    handler.close_connection = True


@pytest.fixture(scope="module")
def server():
    exchange = Exchange()
    thread = threading.Thread(target=exchange.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield exchange
    exchange.shutdown()
    exchange.server_close()
    thread.join()


@pytest.fixture
def exchange(server):
    server.clock, server.skew_ms, server.cap = Clock(), 0, 10_000
    server.faults, server.asked, server.halts, server.instruments, server.tiers = [], [], set(), [], []
    server.settlements = [LISTED + 3 * HOUR + 8 * HOUR * i for i in range(30)]
    return server


def connect(exchange, **settings):
    settings = {"rng": np.random.default_rng(1), "requests_per_second": 1_000.0} | settings
    return BybitSource(exchange.url, now_ms=exchange.clock.now_ms, sleep=exchange.clock.sleep, **settings)


@pytest.fixture
def source(exchange):
    with connect(exchange) as source:
        yield source


def ns(ms):
    return ms * 1_000_000


def opens(frame):
    return (epoch_ns(frame) // 1_000_000).tolist()


def truth(exchange, step, start, end):
    return [t for t in exchange.times(step, start, end - 1) if t + step <= exchange.clock.ms]


# ------------------------------------------------------------------------------------------------ paging


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(-3 * 1_440, 10 * 1_440),
    length=st.integers(0, 4_000),
    offset=st.integers(0, MINUTE - 1),
    cap=st.sampled_from([7, 200, 999, 1_000]),
    halts=st.sets(st.integers(0, 10 * 1_440), max_size=30),
)
def test_pages_join_to_exactly_the_truth(exchange, start, length, offset, cap, halts):
    """No hole and no double at any border, also where replies are shorter than promised and bars are missing."""
    length = length if cap > 100 else length % 100  # so few rows per reply make many requests
    exchange.cap, exchange.halts = cap, {LISTED + MINUTE * h for h in halts}
    begin = LISTED + start * MINUTE + offset
    end = begin + length * MINUTE
    with connect(exchange) as source:
        pages = list(source.pages("bars", "SOLUSDT", ns(begin), ns(end), interval="1m"))
    assert [t for p in pages for t in opens(p.frame)] == truth(exchange, MINUTE, begin, end)
    borders = [(p.start_ns, p.end_ns) for p in pages]
    assert all(a[1] == b[0] for a, b in pairwise(borders))
    for p in pages:
        assert all(p.start_ns <= ns(t) < p.end_ns for t in opens(p.frame))
        assert p.frame.schema == pl.Schema(SCHEMAS["bars"])


def test_values_of_bars_are_those_of_the_rows(exchange, source):
    bars = source.bars("linear", "SOLUSDT", "5m", ns(LISTED), ns(LISTED + HOUR))
    expected = [[float(v) for v in kline(t, 5 * MINUTE)[1:]] for t in range(LISTED, LISTED + HOUR, 5 * MINUTE)]
    got = bars.select("open", "high", "low", "close", "volume", "turnover")
    assert [list(row) for row in got.rows()] == expected
    assert bars["trade_count"].null_count() == bars.height


def test_an_open_bar_is_left_out_and_comes_once_it_is_closed(exchange, source):
    start = NOW // HOUR * HOUR - 3 * HOUR
    first = source.bars("linear", "SOLUSDT", "1h", ns(start), ns(NOW + DAY))
    assert opens(first) == [start, start + HOUR, start + 2 * HOUR]
    exchange.clock.ms = start + 4 * HOUR  # the moment it closes
    assert opens(source.bars("linear", "SOLUSDT", "1h", ns(start), ns(NOW + DAY)))[-1] == start + 3 * HOUR


def test_a_clock_that_runs_ahead_does_not_let_an_open_bar_in(exchange, source):
    exchange.skew_ms = -45_000  # the exchange is still in the minute before
    last = NOW // MINUTE * MINUTE
    bars = source.bars("linear", "SOLUSDT", "1m", ns(last - 5 * MINUTE), ns(NOW))
    assert opens(bars)[-1] == last - 2 * MINUTE


def test_pages_come_oldest_first_so_that_a_stopped_download_has_no_hole(exchange, source):
    pages = source.pages("bars", "SOLUSDT", ns(LISTED), ns(LISTED + 5_000 * MINUTE), interval="1m")
    got = [t for p in (next(pages), next(pages)) for t in opens(p.frame)]
    pages.close()
    rest = source.bars("linear", "SOLUSDT", "1m", ns(got[-1]), ns(LISTED + 5_000 * MINUTE))
    assert sorted({*got, *opens(rest)}) == truth(exchange, MINUTE, LISTED, LISTED + 5_000 * MINUTE)


def test_years_before_the_listing_are_skipped_with_one_daily_question(exchange, source):
    begin = LISTED - 900 * DAY
    bars = source.bars("linear", "SOLUSDT", "1m", ns(begin), ns(LISTED + DAY))
    assert opens(bars) == truth(exchange, MINUTE, begin, LISTED + DAY)
    assert len(exchange.asked) < 10  # one by one it would be 1,298


def test_where_no_daily_row_shows_every_window_is_asked(exchange, source):
    begin, end = LISTED - 5_000 * MINUTE, LISTED - 2 * DAY
    assert source.bars("linear", "SOLUSDT", "1m", ns(begin), ns(end)).is_empty()
    minutes = [q for _, _, q in exchange.asked if q["interval"] == "1"]
    assert len(minutes) == -(-(end - begin) // (1_000 * MINUTE))


def test_mark_bars_have_prices_only(exchange, source):
    mark = source.mark("SOLUSDT", "1m", ns(LISTED), ns(LISTED + 1_500 * MINUTE))
    assert mark.schema == pl.Schema(SCHEMAS["mark"])
    assert opens(mark) == truth(exchange, MINUTE, LISTED, LISTED + 1_500 * MINUTE)
    assert {p for _, p, _ in exchange.asked} == {"/v5/market/mark-price-kline"}


@pytest.mark.parametrize(
    ("method", "column", "step"), [("open_interest", "open_interest", 5), ("long_short_ratio", "buy_ratio", 5)]
)
def test_periodic_rows_are_known_a_period_after_their_time(exchange, source, method, column, step):
    start = NOW // DAY * DAY - 2 * DAY
    rows = getattr(source, method)("SOLUSDT", "5m", ns(start), ns(NOW))
    assert rows.schema == pl.Schema(SCHEMAS[method])
    assert opens(rows) == truth(exchange, step * MINUTE, start, NOW)
    lag = epoch_ns(rows, "available_ts") - epoch_ns(rows)
    assert (lag == ns(step * MINUTE)).all()
    assert epoch_ns(rows, "available_ts").max() <= ns(NOW)
    assert rows[column].is_finite().all()


# ------------------------------------------------------------------------------------------------ funding


def test_funding_is_paged_with_both_ends_and_dated(exchange, source):
    hourly_from = LISTED + 3 * HOUR + 8 * HOUR * 8
    exchange.settlements = sorted(
        {*range(LISTED + 3 * HOUR, hourly_from + 1, 8 * HOUR), *range(hourly_from, NOW, HOUR)}
    )
    exchange.cap = 50  # so that windows need several replies
    funding = source.funding("SOLUSDT", ns(LISTED), ns(NOW))
    assert opens(funding) == exchange.settlements
    assert [float(rate(t)) for t in exchange.settlements] == funding["rate"].to_list()
    expected = [8.0 if t <= hourly_from else 1.0 for t in exchange.settlements]
    assert funding["interval_hours"].to_list() == expected
    assert all({"startTime", "endTime"} <= q.keys() for _, _, q in exchange.asked)


def test_a_missing_settlement_stays_visible(exchange, source):
    gone = exchange.settlements.pop(10)
    funding = source.funding("SOLUSDT", ns(LISTED), ns(NOW))
    assert set(funding["interval_hours"].to_list()) == {8.0}
    after = funding.filter(pl.col("ts") > pl.lit(gone).cast(pl.Datetime("ms", "UTC")))
    covered_from = opens(after)[0] - after["interval_hours"][0] * HOUR
    assert covered_from == gone  # the eight hours before it are covered by no row


def test_intervals_do_not_depend_on_where_a_download_starts(exchange, source):
    exchange.settlements = [*range(LISTED, LISTED + 4 * DAY, 8 * HOUR), *range(LISTED + 4 * DAY, NOW, 4 * HOUR)]
    whole = source.funding("SOLUSDT", ns(LISTED), ns(NOW))
    for start in exchange.settlements[5:20]:
        part = source.funding("SOLUSDT", ns(start), ns(NOW))
        assert part.equals(whole.filter(pl.col("ts") >= pl.lit(start).cast(pl.Datetime("ms", "UTC"))))


def test_intervals_do_not_depend_on_page_borders(exchange, source):
    border = LISTED + 200 * 8 * HOUR  # the last row of the first window opens the eight-hourly regime
    exchange.settlements = [
        *range(LISTED, border - 9 * HOUR, HOUR),
        *range(border - 2 * HOUR, border + 90 * HOUR, 8 * HOUR),
    ]
    exchange.clock.ms = border + 90 * HOUR
    pages = list(source.pages("funding", "SOLUSDT", ns(LISTED), ns(border + 90 * HOUR)))
    assert [opens(p.frame)[-1] for p in pages] == [border - 2 * HOUR, exchange.settlements[-1]]
    whole = pl.concat([p.frame for p in pages])
    assert whole["interval_hours"].to_list() == [1.0 if t < border - 9 * HOUR else 8.0 for t in exchange.settlements]


# ------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    "fault",
    [
        too_many(), too_many(-5_000), code(10000), code(10016), page(502), page(503), page(429), page(200), reset,
        truncated, page(200, b"null"), page(200, b"[]"), page(200, b'{"retCode": 10001}'),
        page(200, b'{"retCode": 0, "result": 5}'),
    ],
    ids=[
        "rate-limit", "reset-in-the-past", "timeout", "server-error", "502", "503", "429", "html-with-200", "reset",
        "truncated", "null", "list", "no-message", "no-result",
    ],
)  # fmt: skip
def test_a_passing_failure_is_tried_again(exchange, source, fault):
    exchange.faults = [fault, fault]
    bars = source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + 10 * MINUTE))
    assert opens(bars) == truth(exchange, MINUTE, LISTED, LISTED + 10 * MINUTE)
    first, second = exchange.clock.sleeps
    assert 0.25 <= first < 0.5 <= second < 1.0


def test_a_rate_limit_is_waited_for_until_its_reset(exchange, source):
    exchange.faults = [too_many(7_300)]
    source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))
    assert exchange.clock.sleeps == [7.3]


def test_waits_are_the_same_for_the_same_generator(exchange):
    waits = []
    for _ in range(2):
        exchange.clock, exchange.faults = Clock(), [page(502)] * 3
        with connect(exchange, rng=np.random.default_rng(5)) as source:
            source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))
        waits.append(exchange.clock.sleeps)
    assert waits[0] == waits[1]
    assert len(waits[0]) == 3


def test_what_never_passes_ends_in_retry_later(exchange):
    exchange.faults = [page(502)] * 4
    with (
        connect(exchange, attempts=4) as source,
        pytest.raises(RetryLater, match=r"SOLUSDT bars 1m.*4 tries.*HTTP 502"),
    ):
        source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))
    assert len(exchange.asked) == 4


def test_a_ban_stops_everything_for_ten_minutes(exchange, source):
    exchange.faults = [page(403, b"access too frequent")]
    with pytest.raises(RefusedBySource, match=r"HTTP 403.*wait 10 minutes"):
        source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))
    with pytest.raises(RefusedBySource, match=r"not sent.*banned for 600 s more"):
        source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))
    assert len(exchange.asked) == 1
    exchange.clock.ms += 600_000
    assert source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE)).height == 1


def test_an_unknown_symbol_is_named_with_its_code(exchange, source):
    with pytest.raises(RefusedBySource, match=r"NOSUCH bars 1m: retCode 10001: Not supported symbols"):
        source.bars("linear", "NOSUCH", "1m", ns(LISTED), ns(LISTED + MINUTE))
    assert len(exchange.asked) == 1


def test_a_page_that_fails_for_good_leaves_those_before_it(exchange):
    with connect(exchange, attempts=2) as source:
        pages = source.pages("bars", "SOLUSDT", ns(LISTED), ns(LISTED + 3_000 * MINUTE), interval="1m")
        assert next(pages).frame.height == 1_000
        exchange.faults = [page(502)] * 2
        with pytest.raises(RetryLater):
            next(pages)


def test_nothing_listening_is_retry_later():
    clock = Clock()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with (
            BybitSource(
                url, now_ms=clock.now_ms, sleep=clock.sleep, rng=np.random.default_rng(0), attempts=3
            ) as source,
            pytest.raises(RetryLater, match="ConnectionError"),
        ):
            source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + MINUTE))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["1704085200000", "1", "2"]], "fewer than 7 values"),
        ([["1704085200000", "x", "2", "1", "1", "1", "1"]], "not a number"),
        ([["1704085200001", "1", "2", "1", "1", "1", "1"]], "off the grid"),
        (
            [["1704085200000", "1", "2", "1", "1", "1", "1"], ["1704085200000", "2", "2", "1", "1", "1", "1"]],
            "one time",
        ),
        ([["1600000020000", "1", "2", "1", "1", "1", "1"]], "outside the time asked"),
    ],
)
def test_rows_that_make_no_sense_are_refused(exchange, source, rows, message):
    exchange.faults = [lambda handler: handler.envelope({"list": rows})]
    with pytest.raises(SourceError, match=message):
        source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + 10 * MINUTE))


def test_requests_are_paced(exchange):
    with connect(exchange, requests_per_second=4.0) as source:
        source.bars("linear", "SOLUSDT", "1m", ns(LISTED), ns(LISTED + 10 * DAY))
    times = [t for t, _, _ in exchange.asked]
    assert len(times) == 15
    for i, t in enumerate(times):  # in any second at most a burst of five and four more
        assert sum(t <= other < t + 1_000 for other in times[i:]) <= 9


def test_the_bucket_holds_no_more_than_its_burst():
    clock = Clock(0)
    bucket = TokenBucket(2.0, 3, clock.now_ms, clock.sleep)
    for _ in range(3):
        bucket.take()
    assert clock.sleeps == []
    for _ in range(4):
        bucket.take()
    assert clock.ms == 2_000
    clock.ms += 3_600_000
    for _ in range(4):
        bucket.take()
    assert clock.sleeps[4:] == [0.5]


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.bars("linear", "SOLUSDT", "8h", 0, 1),
        lambda s: s.bars("inverse", "SOLUSDT", "1m", 0, 1),
        lambda s: s.bars("linear", "SOL&limit=1", "1m", 0, 1),
        lambda s: s.bars("linear", "SOLUSDT", "1m", 2, 1),
        lambda s: s.open_interest("SOLUSDT", "1m", 0, 1),
        lambda s: s.pages("trades", "SOLUSDT", 0, 1),
        lambda s: s.pages("mark", "SOLUSDT", 0, 1, market="spot", interval="1m"),
        lambda s: s.pages("funding", "SOLUSDT", 0, 1, interval="8h"),
    ],
)
def test_arguments_are_refused_before_anything_is_sent(exchange, source, call):
    with pytest.raises(InvalidInput):
        call(source)
    assert exchange.asked == []


# ------------------------------------------------------------------------------------------------ instruments

LINEAR = {
    "symbol": "SOLUSDT", "baseCoin": "SOL", "quoteCoin": "USDT", "fundingInterval": 480,
    "leverageFilter": {"maxLeverage": "75.00"}, "priceFilter": {"tickSize": "0.010"},
    "lotSizeFilter": {"maxOrderQty": "90000", "maxMktOrderQty": "8000.0", "minOrderQty": "0.1", "qtyStep": "0.1",
                      "minNotionalValue": "5"},
}  # fmt: skip
SPOT = {
    "symbol": "SOLUSDT", "baseCoin": "SOL", "quoteCoin": "USDT", "priceFilter": {"tickSize": "0.01"},
    "lotSizeFilter": {"basePrecision": "0.001", "minOrderQty": "0.005", "minOrderAmt": "5", "maxMarketOrderQty": "40"},
}  # fmt: skip


def tier(cap, maintenance, initial, leverage, deduction=""):
    return {
        "symbol": "SOLUSDT", "riskLimitValue": cap, "maintenanceMargin": maintenance, "initialMargin": initial,
        "maxLeverage": leverage, "mmDeduction": deduction,
    }  # fmt: skip


def test_a_perpetual_carries_its_tiers_over_the_cursor(exchange, source):
    exchange.instruments = [LINEAR]
    exchange.tiers = [
        tier("5000000", "0.04", "0.08", "12.5", "60000"), tier("500000", "0.01", "0.0134", "75.00"),
        tier("2000000", "0.02", "0.04", "25.00"),
    ]  # fmt: skip
    exchange.tiers[0]["mmDeduction"] = str(500_000 * 0.01 + 2_000_000 * 0.02)
    instrument = source.instrument("linear", "SOLUSDT")
    (terms,) = instrument.terms
    assert (instrument.venue, instrument.base, instrument.quote) == ("bybit", "SOL", "USDT")
    assert (terms.tick, terms.qty_step, terms.min_qty, terms.max_qty) == (0.01, 0.1, 0.1, 8_000.0)
    assert (terms.min_notional_quote, terms.funding_interval_hours, terms.from_ns) == (5.0, 8.0, 0)
    assert (terms.taker_fee_bps, terms.maker_fee_bps) == (5.5, 2.0)
    assert terms.max_leverage == pytest.approx(75)  # 1 / (1 / 75)
    assert terms.tiers == (
        MarginTier(500_000, 0.01, 1 / 75, 0.0),
        MarginTier(2_000_000, 0.02, 1 / 25, 5_000.0),
        MarginTier(5_000_000, 0.04, 1 / 12.5, 45_000.0),
    )


def test_margin_rates_in_percent_are_told_by_the_leverage(exchange, source):
    exchange.instruments, exchange.tiers = [LINEAR], [tier("500000", "0.5", "1.33", "75.00")]
    assert source.instrument("linear", "SOLUSDT").terms[0].tiers[0].maintenance_frac == 0.005
    exchange.tiers = [tier("500000", "0.5", "0.1", "75.00")]
    with pytest.raises(SourceError, match="neither 1 nor 100"):
        source.instrument("linear", "SOLUSDT")


def test_a_deduction_that_contradicts_the_rates_is_refused(exchange, source):
    exchange.instruments = [LINEAR]
    exchange.tiers = [tier("500000", "0.01", "0.02", "50"), tier("900000", "0.02", "0.04", "25", "4000")]
    with pytest.raises(SourceError, match=r"mmDeduction.*4000.*5000"):
        source.instrument("linear", "SOLUSDT")


def test_a_spot_pair_has_no_margin(exchange, source):
    exchange.instruments = [SPOT]
    (terms,) = source.instrument("spot", "SOLUSDT", taker_fee_bps=6.0, from_ns=5).terms
    assert (terms.qty_step, terms.min_qty, terms.max_qty, terms.min_notional_quote) == (0.001, 0.005, 40.0, 5.0)
    assert (terms.max_leverage, terms.funding_interval_hours, terms.tiers) == (1.0, 0.0, ())
    assert (terms.taker_fee_bps, terms.maker_fee_bps, terms.from_ns) == (6.0, 10.0, 5)


def test_an_instrument_that_is_not_listed_is_refused(exchange, source):
    with pytest.raises(RefusedBySource, match="SOLUSDT instrument: Bybit lists no such"):
        source.instrument("spot", "SOLUSDT")


def test_an_instrument_without_a_field_is_refused(exchange, source):
    exchange.instruments = [{**SPOT, "priceFilter": {}}]
    with pytest.raises(SourceError, match="no tickSize"):
        source.instrument("spot", "SOLUSDT")
