"""The download and import commands end to end: against a server on loopback, stopped, killed and taken up again."""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import download, import_files
from pipelines.download import Series, missing_ranges
from research.errors import NotInLake
from research.market.bars import TS, epoch_ns
from research.market.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_704_067_200_000  # 2024-01-01
NOW = START + 40 * DAY + 30_000
ARGUMENTS = ["--symbols", "SOLUSDT", "--start", "2024-01-01", "--interval", "1m"]


class Exchange(ThreadingHTTPServer):
    """Serves a listed symbol newest first; ``on_request`` sees every request before it is answered."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.now_ms, self.listed, self.tick = NOW, START - 3 * DAY, "0.010"
        self.volume = "7"
        self.asked, self.on_request = [], lambda number: None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Say nothing of a client that was killed."""

    def rows(self, step, q, first="start", last="end"):
        low = max(int(q[first]), self.listed)
        return range(-(-low // step) * step, min(int(q[last]), self.now_ms) + 1, step)

    def result(self, path, q):
        if path.endswith("instruments-info"):
            lots = {"maxMktOrderQty": "8000", "minOrderQty": "0.1", "qtyStep": "0.1", "minNotionalValue": "5"}
            contract = {"baseCoin": "SOL", "quoteCoin": "USDT", "fundingInterval": 480, "lotSizeFilter": lots}
            grid = {"leverageFilter": {"maxLeverage": "50"}, "priceFilter": {"tickSize": self.tick}}
            return {"list": [{"symbol": q["symbol"], **contract, **grid}]}
        if path.endswith("risk-limit"):
            tier = {
                "riskLimitValue": "500000",
                "maintenanceMargin": "0.01",
                "initialMargin": "0.02",
                "maxLeverage": "50",
            }
            return {"list": [{"symbol": q["symbol"], **tier}]}
        if path.endswith("kline"):
            step = DAY if q["interval"] == "D" else int(q["interval"]) * MINUTE
            prices = {t: [str(100 + t // step % 50 + d) for d in (0, 1, -1, 0.5)] for t in self.rows(step, q)}
            more = [] if "mark-price" in path else [self.volume, "9"]
            rows = [[str(t), *prices[t], *more] for t in prices]
        elif path.endswith("funding/history"):
            times = self.rows(8 * HOUR, q, "startTime", "endTime")
            rows = [{"fundingRate": "0.0001", "fundingRateTimestamp": str(t)} for t in times]
        else:
            step = {"1h": HOUR, "1d": DAY}[q.get("intervalTime") or q["period"]]
            times = self.rows(step, q, "startTime", "endTime")
            rows = [{"openInterest": "5", "buyRatio": "0.6", "sellRatio": "0.4", "timestamp": str(t)} for t in times]
        return {"list": rows[::-1][: int(q["limit"])]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.server.asked.append((parts.path, query))
        self.server.on_request(len(self.server.asked))
        code, result = (10001, {}) if query["symbol"] == "NOSUCH" else (0, self.server.result(parts.path, query))
        body = json.dumps({"retCode": code, "retMsg": "no", "result": result, "time": self.server.now_ms}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:  # the client was killed
            self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def exchange():
    server = Exchange()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def run(exchange, lake, *more, end="2024-02-05"):
    arguments = [*ARGUMENTS, "--end", end, "--endpoint", exchange.url, "--lake", str(lake.root), *more]
    arguments += ["--requests-per-second", "10000"]
    return download.main(arguments, now_ms=lambda: exchange.now_ms, sleep=lambda seconds: None)


def minutes(lake, kind="bars"):
    return (epoch_ns(lake.read("bybit", "linear", "SOLUSDT", kind, "1m")) // 1_000_000).tolist()


def test_everything_of_a_symbol_in_one_command(exchange, tmp_path, capsys):
    lake = Lake(tmp_path / "lake")
    kinds = "instrument,bars,mark,funding,open_interest,long_short_ratio"
    assert run(exchange, lake, "--kinds", kinds) == 0
    expected = list(range(START, START + 35 * DAY, MINUTE))
    assert minutes(lake) == expected
    assert minutes(lake, "mark") == expected
    funding = lake.funding("bybit", "linear", "SOLUSDT")
    assert funding.height == 35 * 3
    assert set(funding["interval_hours"]) == {8.0}
    assert lake.open_interest("bybit", "linear", "SOLUSDT", "1h").height == 35 * 24
    assert lake.read("bybit", "linear", "SOLUSDT", "long_short_ratio", "1h").height == 35 * 24
    assert lake.instrument("bybit", "linear", "SOLUSDT").terms[0].tick == 0.01
    table = capsys.readouterr()
    assert table.err == ""  # no progress where there is no terminal
    assert "50,400" in table.out
    assert table.out.count("complete") == 5


def test_doing_it_again_asks_for_almost_nothing(exchange, tmp_path, capsys):
    lake = Lake(tmp_path / "lake")
    run(exchange, lake, "--kinds", "bars,funding")
    before = sorted((p, p.read_bytes()) for p in lake.root.rglob("*.parquet"))
    exchange.asked.clear()
    assert run(exchange, lake, "--kinds", "bars,funding") == 0
    assert len(exchange.asked) <= 4
    assert sorted((p, p.read_bytes()) for p in lake.root.rglob("*.parquet")) == before
    assert run(exchange, lake, "--kinds", "bars", end="2024-02-06") == 0
    assert minutes(lake) == list(range(START, START + 36 * DAY, MINUTE))


def test_a_gap_anywhere_is_filled_and_nothing_else_asked(exchange, tmp_path):
    lake = Lake(tmp_path / "lake")
    assert run(exchange, lake, "--kinds", "bars") == 0
    whole = lake.bars("bybit", "linear", "SOLUSDT", "1m")
    other = Lake(tmp_path / "other")
    other.write(
        pl.concat([whole[:10], whole[15_000:15_005], whole[40_000:50_000]]), "bybit", "linear", "SOLUSDT", "bars", "1m"
    )
    exchange.asked.clear()
    assert run(exchange, other, "--kinds", "bars") == 0
    assert other.bars("bybit", "linear", "SOLUSDT", "1m").equals(whole)
    asked = [(int(q["start"]), int(q["end"])) for _, q in exchange.asked]
    inside = [(a, b) for a, b in asked if START + 40_000 * MINUTE <= a < b <= START + 49_999 * MINUTE - 1]
    assert inside == []


def test_an_open_bar_is_not_stored_but_follows_later(exchange, tmp_path):
    lake = Lake(tmp_path / "lake")
    assert run(exchange, lake, "--kinds", "bars", end="2024-03-01") == 0
    assert minutes(lake)[-1] == NOW // MINUTE * MINUTE - MINUTE
    exchange.now_ms += 2 * MINUTE
    assert run(exchange, lake, "--kinds", "bars", end="2024-03-01") == 0
    assert minutes(lake) == list(range(START, NOW // MINUTE * MINUTE + 2 * MINUTE, MINUTE))


def test_the_newest_stored_bar_is_asked_again(exchange, tmp_path):
    """It was fetched right after it closed; what the exchange made of it later counts."""
    lake = Lake(tmp_path / "lake")
    assert run(exchange, lake, "--kinds", "bars", end="2024-03-01") == 0
    exchange.volume, exchange.now_ms = "8", exchange.now_ms + 2 * MINUTE
    assert run(exchange, lake, "--kinds", "bars", end="2024-03-01") == 0
    volume = lake.bars("bybit", "linear", "SOLUSDT", "1m")["volume"].to_list()
    assert volume[-4:] == [7.0, 8.0, 8.0, 8.0]


def test_before_the_listing_there_is_nothing(exchange, tmp_path):
    lake = Lake(tmp_path / "lake")
    exchange.listed = START + 30 * DAY + 7 * HOUR
    assert run(exchange, lake, "--kinds", "bars", "--start", "2021-01-01") == 0
    assert minutes(lake) == list(range(exchange.listed, START + 35 * DAY, MINUTE))
    assert len(exchange.asked) < 15


def test_a_wrong_symbol_does_not_stop_the_others(exchange, tmp_path, capsys):
    lake = Lake(tmp_path / "lake")
    assert run(exchange, lake, "--kinds", "bars", "--symbols", "NOSUCH,SOLUSDT", end="2024-01-02") == 1
    assert len(minutes(lake)) == 1_440
    assert "RefusedBySource: bybit linear NOSUCH bars 1m: retCode 10001" in capsys.readouterr().out
    with pytest.raises(NotInLake):
        lake.bars("bybit", "linear", "NOSUCH", "1m")


@pytest.mark.parametrize("stop", [3, 30])
def test_ctrl_c_keeps_what_was_fetched_and_the_next_run_goes_on(exchange, tmp_path, capsys, stop, monkeypatch):
    lake = Lake(tmp_path / "lake")
    pages = download.BybitSource.pages

    def interrupted(self, *arguments, **more):
        for number, page in enumerate(pages(self, *arguments, **more)):
            if number == stop:
                raise KeyboardInterrupt
            yield page

    with monkeypatch.context() as patch:
        patch.setattr(download.BybitSource, "pages", interrupted)
        assert run(exchange, lake, "--kinds", "bars,funding") == 130
    assert minutes(lake) == list(range(START, START + stop * 1_000 * MINUTE, MINUTE))
    assert "interrupted" in capsys.readouterr().out
    exchange.asked.clear()
    assert run(exchange, lake, "--kinds", "bars,funding") == 0
    assert minutes(lake) == list(range(START, START + 35 * DAY, MINUTE))
    again = [
        q for p, q in exchange.asked if p.endswith("/kline") and int(q["end"]) < START + (stop * 1_000 - 1) * MINUTE
    ]
    assert again == []


def test_killed_midway_and_taken_up_by_another_process(exchange, tmp_path):
    """SIGKILL at several requests; whatever the lake holds then is whole, and one more run completes it."""
    lake = Lake(tmp_path / "lake")
    command = [sys.executable, "-m", "pipelines.download", *ARGUMENTS, "--end", "2024-02-05", "--kinds", "bars,funding"]
    command += ["--endpoint", exchange.url, "--lake", str(lake.root), "--requests-per-second", "10000"]
    held = []
    for at in (25, 22):  # writes come every 20 pages
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        exchange.asked.clear()
        exchange.on_request = lambda number, at=at, pid=process.pid: (
            os.kill(pid, signal.SIGKILL) if number == at else None
        )
        assert process.wait(timeout=120) == -signal.SIGKILL
        held.append(len(minutes(lake)))
        assert minutes(lake) == list(range(START, START + held[-1] * MINUTE, MINUTE))
    assert 0 < held[0] < held[1]
    exchange.on_request = lambda number: None
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert minutes(lake) == list(range(START, START + 35 * DAY, MINUTE))
    assert lake.funding("bybit", "linear", "SOLUSDT").height == 35 * 3


def test_new_terms_are_appended_with_their_date(exchange, tmp_path):
    lake = Lake(tmp_path / "lake")
    fees = ["--taker-fee-bps", "4.0", "--maker-fee-bps", "1.0"]
    assert run(exchange, lake, "--kinds", "instrument", *fees) == 0
    first = lake.instrument("bybit", "linear", "SOLUSDT")
    assert run(exchange, lake, "--kinds", "instrument") == 0
    assert lake.instrument("bybit", "linear", "SOLUSDT") == first  # stated fees are kept
    exchange.tick, exchange.now_ms = "0.001", NOW + DAY
    assert run(exchange, lake, "--kinds", "instrument") == 0
    old, new = lake.instrument("bybit", "linear", "SOLUSDT").terms
    assert (old.tick, old.from_ns) == (0.01, 0)
    assert (new.tick, new.from_ns, new.taker_fee_bps) == (0.001, exchange.now_ms * 1_000_000, 4.0)


@pytest.mark.parametrize(
    "wrong", [["--kinds", "candles"], ["--start", "soon"], ["--symbols", ","], ["--endpoint", "ftp://x"]]
)
def test_wrong_arguments_are_named(exchange, tmp_path, capsys, wrong):
    assert run(exchange, Lake(tmp_path), *wrong) == 2
    assert wrong[0].lstrip("-").rstrip("s") in capsys.readouterr().err


@given(st.sets(st.integers(0, 3_000), max_size=40), st.integers(0, 500), st.integers(0, 3_000))
def test_ranges_cover_what_is_missing_and_no_more_than_near(present, low, length):
    minute = 60_000_000_000
    begin, end = low * minute + 5, (low + length) * minute + 5
    stored = sorted(p for p in present if begin <= p * minute < end)
    ranges = download._grid_ranges(
        pl.Series([p * minute for p in stored], dtype=pl.Int64).to_numpy(), minute, begin, end
    ) if stored else [(begin, end)]  # fmt: skip
    wanted = {m for m in range(low + length + 1) if begin <= m * minute < end} - set(stored[:-1])
    covered = {m for a, b in ranges for m in range(low + length + 1) if a <= m * minute < b}
    assert wanted <= covered
    assert all(a[1] < b[0] for a, b in pairwise(ranges))
    for spare in covered - wanted:  # asked again only within a stretch of near ones
        assert any(0 < abs(spare - m) <= download.NEAR_ROWS for m in wanted)


def test_a_hole_in_funding_is_asked_for(tmp_path):
    lake, hour = Lake(tmp_path), HOUR * 1_000_000
    times = [
        t
        for t in range(START * 1_000_000, START * 1_000_000 + 240 * hour, 8 * hour)
        if t != START * 1_000_000 + 80 * hour
    ]
    rows = pl.DataFrame({"ts": pl.Series(times, dtype=pl.Int64).cast(TS), "rate": 0.0001, "interval_hours": 8.0})
    lake.write(rows, "bybit", "linear", "SOLUSDT", "funding")
    ranges = missing_ranges(
        lake,
        Series("linear", "SOLUSDT", "funding", None),
        START * 1_000_000 - 24 * hour,
        START * 1_000_000 + 300 * hour,
    )
    base = START * 1_000_000
    assert ranges[0] == (base - 24 * hour, base)
    assert ranges[1] == (base + 72 * hour + 1, base + 88 * hour)
    assert ranges[2][0] <= base + 232 * hour
    assert ranges[2][1] == base + 300 * hour
    assert len(ranges) == 3


# ------------------------------------------------------------------------------------------------ files


def bars_file(path, first=0, symbol=None):
    rows = [f"{START + MINUTE * (first + i)},1.5,2,1,1.75,{i}" + (f",{symbol}" if symbol else "") for i in range(100)]
    path.write_text("\n".join(["ts,open,high,low,close,volume" + (",symbol" if symbol else ""), *rows]) + "\n")
    return str(path)


def test_files_go_into_the_lake_once(tmp_path, capsys):
    lake = Lake(tmp_path / "lake")
    where = ["--venue", "binance", "--market", "linear", "--symbol", "SOLUSDT", "--lake", str(lake.root)]
    options = [*where, "--kind", "bars", "--interval", "1m"]
    files = [bars_file(tmp_path / "a.csv"), bars_file(tmp_path / "b.csv", 100), bars_file(tmp_path / "c.csv", 150)]
    (tmp_path / "broken.csv").write_text("ts,open\n1,2,3\n")
    assert import_files.main([*options, str(tmp_path / "broken.csv"), *files]) == 1
    out = capsys.readouterr().out
    assert "CorruptFile" in out
    assert out.count("imported") == 3
    assert lake.bars("binance", "linear", "SOLUSDT", "1m").height == 250
    before = sorted((p, p.read_bytes()) for p in lake.root.rglob("*.parquet"))
    assert import_files.main([*options, *files[:1]]) == 0
    assert sorted((p, p.read_bytes()) for p in lake.root.rglob("*.parquet")) == before


def test_a_column_that_a_file_lacks_does_not_erase_stored_values(tmp_path):
    lake = Lake(tmp_path / "lake")
    options = ["--venue", "v", "--market", "linear", "--symbol", "SOLUSDT", "--kind", "bars", "--interval", "1m"]
    path = Path(bars_file(tmp_path / "a.csv"))
    rich = tmp_path / "rich.csv"
    rich.write_text(
        "\n".join(line + (",turnover" if i == 0 else ",9.5") for i, line in enumerate(path.read_text().split()))
    )
    for file in (rich, path):
        assert import_files.main([*options, "--lake", str(lake.root), str(file)]) == 0
    assert set(lake.bars("v", "linear", "SOLUSDT", "1m")["turnover"]) == {9.5}


def test_a_file_of_another_symbol_is_refused(tmp_path, capsys):
    options = ["--venue", "v", "--market", "linear", "--symbol", "SOLUSDT", "--kind", "bars", "--interval", "1m"]
    options += ["--lake", str(tmp_path / "lake")]
    path = bars_file(tmp_path / "a.csv", symbol="SOL/USDT")
    assert import_files.main([*options, path]) == 1
    assert "must be one of those in the file: SOL/USDT" in capsys.readouterr().out
    assert import_files.main([*options, "--file-symbol", "SOL/USDT", path]) == 0


def test_funding_trades_and_book_files(tmp_path):
    lake = Lake(tmp_path / "lake")
    where = ["--venue", "bybit", "--market", "linear", "--symbol", "SOLUSDT", "--lake", str(lake.root)]
    (tmp_path / "f.csv").write_text("".join(["ts,rate\n", *(f"{START + HOUR * 4 * i},0.0001\n" for i in range(9))]))
    assert import_files.main([*where, "--kind", "funding", str(tmp_path / "f.csv")]) == 0
    assert set(lake.funding("bybit", "linear", "SOLUSDT")["interval_hours"]) == {4.0}
    (tmp_path / "t.csv").write_text(f"id,timestamp,price,volume,side\n1,{START},20.5,3,buy\n2,{START},20.5,3,sell\n")
    assert import_files.main([*where, "--kind", "trades", str(tmp_path / "t.csv")]) == 0
    assert lake.trades("bybit", "linear", "SOLUSDT")["side"].to_list() == [1, -1]
    levels = {"s": "SOLUSDT", "b": [["20.1", "5"]], "a": [["20.2", "1"]], "u": 1}
    (tmp_path / "b.data").write_text(json.dumps({"type": "snapshot", "ts": START, "data": levels}) + "\n")
    assert import_files.main([*where, "--kind", "book", str(tmp_path / "b.data")]) == 0
    assert lake.read("bybit", "linear", "SOLUSDT", "book").height == 2
    assert import_files.main([*where, "--kind", "bars", str(tmp_path / "t.csv")]) == 2
