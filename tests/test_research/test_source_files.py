"""File readers on files of every layout, and on real ones as they were published."""

import gzip
import json
import zipfile
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import CorruptFile, InvalidInput, MisalignedBars, NotInLake, SchemaMismatch
from research.market.bars import SCHEMAS, TS, epoch_ns
from research.market.sources.file_times import NS_PER_UNIT, times
from research.market.sources.files import (
    book_chunks,
    read_bars,
    read_book,
    read_funding,
    read_mark,
    read_market_folder,
    read_trades,
)
from research.market.sources.funding_intervals import NS_PER_HOUR, funding_interval_hours

START = datetime(2025, 3, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1_000)
PRICES = [(100.5, 101.0, 99.25, 100.75), (100.75, 102.0, 100.5, 101.5), (101.5, 101.5, 100.0, 100.25)]


def bar_lines(stamp):
    return [f"{stamp(START_MS + 60_000 * i)},{','.join(map(str, p))},{10 + i}" for i, p in enumerate(PRICES)]


def expected_bars():
    return pl.DataFrame(
        {
            "ts": pl.Series([START + timedelta(minutes=i) for i in range(3)], dtype=TS),
            **{name: [p[k] for p in PRICES] for k, name in enumerate(("open", "high", "low", "close"))},
            "volume": [10.0, 11.0, 12.0],
        }
    )


def save(path, lines):
    text = "\n".join(lines) + "\n"
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem, text)
    else:
        path.write_text(text)
    return path


def same_bars(frame, expected=None):
    expected = expected_bars() if expected is None else expected
    assert frame.schema == pl.Schema(SCHEMAS["bars"])
    assert frame.select(expected.columns).equals(expected)


# ------------------------------------------------------------------------------------------------ times

STAMPS = {
    "s": lambda ms: str(ms // 1_000),
    "decimal-s": lambda ms: f"{ms // 1_000}.000",
    "ms": str,
    "us": lambda ms: str(ms * 1_000),
    "ns": lambda ms: str(ms * 1_000_000),
    "ms-as-float": lambda ms: f"{ms}.0",
    "iso-z": lambda ms: datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "iso-fraction": lambda ms: datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S.000+00:00"),
    "iso-other-zone": lambda ms: (datetime.fromtimestamp(ms / 1e3, UTC) + timedelta(hours=5.5)).strftime(
        "%Y-%m-%dT%H:%M:%S+0530"
    ),
    "utc-suffix": lambda ms: datetime.fromtimestamp(ms / 1e3, UTC).strftime("%Y/%m/%d %H:%M:%S UTC"),
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zip"])
@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
def test_generic_csv_in_every_unit_and_packing(tmp_path, stamp, suffix):
    path = save(tmp_path / f"bars{suffix}", ["timestamp,open,high,low,close,volume", *bar_lines(stamp)])
    same_bars(read_bars(path))


@given(st.lists(st.integers(1_300_000_000_000_000_000, 4_000_000_000_000_000_000), min_size=1, max_size=5))
def test_decimal_text_is_read_to_the_last_digit(ns):
    for unit, size in NS_PER_UNIT.items():
        digits = len(str(size)) - 1
        text = [f"{n // size}.{n % size:0{digits}d}" if digits else str(n) for n in ns]
        assert epoch_ns(times(pl.Series(text), "ts").to_frame("ts")).tolist() == ns, unit
        whole = pl.Series([n // size for n in ns])
        assert epoch_ns(times(whole, "ts").to_frame("ts")).tolist() == [n // size * size for n in ns]


def test_a_column_of_two_units_is_refused_at_the_row(tmp_path):
    lines = ["timestamp,open,high,low,close,volume", *bar_lines(str)]
    lines[3] = lines[3].replace(str(START_MS + 120_000), str((START_MS + 120_000) * 1_000))
    path = save(tmp_path / "mixed.csv", lines)
    with pytest.raises(SchemaMismatch, match=r"timestamp\[2\] must be in ms by its size.*units are mixed"):
        read_bars(path)


def test_a_stated_unit_counts_and_must_make_sense(tmp_path):
    path = save(tmp_path / "bars.csv", ["ts,open,high,low,close,volume", *bar_lines(str)])
    same_bars(read_bars(path, time_unit="ms"))
    with pytest.raises(SchemaMismatch, match="between 2009 and 2100"):
        read_bars(path, time_unit="us")
    with pytest.raises(SchemaMismatch, match="must be a time in s"):
        read_bars(path, time_unit="s")
    with pytest.raises(InvalidInput, match="time_unit"):
        read_bars(path, time_unit="minutes")


def test_times_without_a_zone_need_one(tmp_path):
    local = lambda ms: datetime.fromtimestamp(ms / 1e3 + 2 * 3_600, UTC).strftime("%Y-%m-%d %H:%M")  # noqa: E731
    path = save(tmp_path / "bars.csv", ["date,open,high,low,close,volume", *bar_lines(local)])
    with pytest.raises(SchemaMismatch, match="has no time zone: state utc_offset_hours"):
        read_bars(path)
    same_bars(read_bars(path, utc_offset_hours=2))


@pytest.mark.parametrize("bad", ["soon", "01.03.2025 00:02", "2025-03-01", "", "NaN", "-5"])
def test_a_value_that_is_no_time_is_refused(tmp_path, bad):
    lines = ["ts,open,high,low,close,volume", *bar_lines(STAMPS["iso-z"])]
    lines[3] = bad + lines[3][lines[3].index(",") :]
    with pytest.raises((SchemaMismatch, CorruptFile), match=r"ts|line 4"):
        read_bars(save(tmp_path / "bars.csv", lines))


# ------------------------------------------------------------------------------------------------ bars

KLINE_NAMES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("scale", [1, 1_000], ids=["ms", "us"])
def test_binance_klines_with_and_without_header(tmp_path, header, scale):
    rows = [
        f"{line},{(START_MS + 60_000 * i + 59_999) * scale},{5000.5 + i},{7 + i},{3.5 + i},1,0"
        for i, line in enumerate(bar_lines(lambda ms: str(ms * scale)))
    ]
    path = save(tmp_path / "SOLUSDT-1m-2025-03.csv.zip", ([KLINE_NAMES] if header else []) + rows)
    more = {"turnover": [5000.5, 5001.5, 5002.5], "trade_count": [7, 8, 9], "taker_buy_volume": [3.5, 4.5, 5.5]}
    expected = expected_bars().with_columns(**{k: pl.Series(v) for k, v in more.items()})
    same_bars(read_bars(path), expected)
    same_bars(read_bars(path, "binance_klines", interval="1m"), expected)
    assert read_mark(path).equals(expected.select(list(SCHEMAS["mark"])))


def test_metatrader_klines_run_three_hours_ahead(tmp_path):
    local = lambda ms: datetime.fromtimestamp(ms / 1e3 + 3 * 3_600, UTC).strftime("%Y.%m.%d %H:%M")  # noqa: E731
    path = save(tmp_path / "SOLUSDT_1_2025-03-01_2025-03-31.csv.gz", bar_lines(local))
    same_bars(read_bars(path))
    same_bars(read_bars(path, "bybit_metatrader4"))


@pytest.mark.parametrize("form", ["parquet", "feather"])
@pytest.mark.parametrize("dtype", [pl.Datetime("ms", "UTC"), pl.Datetime("us", "Europe/Berlin"), pl.Int64])
def test_binary_tables(tmp_path, form, dtype):
    frame = expected_bars().with_columns(pl.col("ts").dt.cast_time_unit("ms"))
    time = (
        pl.col("ts").to_physical()
        if dtype == pl.Int64
        else pl.col("ts").dt.convert_time_zone(dtype.time_zone).cast(dtype)
    )
    frame = frame.with_columns(time.alias("date")).drop("ts")
    path = tmp_path / f"bars.{form}"
    frame.write_parquet(path) if form == "parquet" else frame.write_ipc(path)
    same_bars(read_bars(path))
    same_bars(read_bars(path, "freqtrade"))


def test_rows_come_sorted_and_once(tmp_path):
    lines = bar_lines(str)
    path = save(tmp_path / "bars.csv", ["ts,open,high,low,close,volume", lines[2], lines[0], lines[1], lines[1]])
    same_bars(read_bars(path))
    path = save(path, ["ts,open,high,low,close,volume", *lines, lines[1].replace("102.0", "103.0")])
    with pytest.raises(InvalidInput, match="two different rows of ts 2025-03-01 00:01"):
        read_bars(path)


def test_columns_are_found_by_alias_or_stated(tmp_path):
    path = save(
        tmp_path / "bars.csv", ["Open Time;Open;High;Low;Close;Vol", *(x.replace(",", ";") for x in bar_lines(str))]
    )
    same_bars(read_bars(path))
    path = save(path, ["time,date,open,high,low,close,volume", *(f"9,{line}" for line in bar_lines(str))])
    with pytest.raises(SchemaMismatch, match=r"could be any of several.*\['time', 'date'\]"):
        read_bars(path)
    same_bars(read_bars(path, columns={"ts": "date"}))
    with pytest.raises(SchemaMismatch, match="'when' is not in the file"):
        read_bars(path, columns={"ts": "when"})


def test_missing_columns_are_named_with_what_was_found(tmp_path):
    path = save(tmp_path / "bars.csv", ["ts,open,high,low,closing,volume", *bar_lines(str)])
    with pytest.raises(SchemaMismatch, match=r"close is not among the columns.*'closing'"):
        read_bars(path)
    path = save(path, bar_lines(str))
    with pytest.raises(SchemaMismatch, match="has no header, and its 6 fields are no known layout"):
        read_bars(path)
    with pytest.raises(InvalidInput, match="layout must be auto or one of"):
        read_bars(path, "excel")


def test_a_symbol_is_chosen_or_refused(tmp_path):
    rows = [f"{line},{symbol}" for symbol in ("SOL", "BTC") for line in bar_lines(str)]
    path = save(tmp_path / "bars.csv", ["ts,open,high,low,close,volume,symbol", *rows])
    with pytest.raises(InvalidInput, match="holds 2 symbols"):
        read_bars(path)
    same_bars(read_bars(path, symbol="SOL"))
    with pytest.raises(InvalidInput, match="must be one of those in the file: BTC, SOL"):
        read_bars(path, symbol="ETH")


def test_bars_off_the_stated_grid_are_refused(tmp_path):
    path = save(tmp_path / "bars.csv", ["ts,open,high,low,close,volume", *bar_lines(str)])
    with pytest.raises(MisalignedBars, match="ts of bar 1 must open on the 5m grid"):
        read_bars(path, interval="5m")


def test_a_price_written_as_nan_stays_nan_and_blank_lines_are_nothing(tmp_path):
    lines = ["ts,open,high,low,close,volume", *bar_lines(str), ""]
    lines[2] = lines[2].replace("102.0", "NaN")
    bars = read_bars(save(tmp_path / "bars.csv", lines))
    assert bars.height == 3
    assert np.isnan(bars["high"][1])
    frame = expected_bars().with_columns(high=pl.Series([101.0, None, 101.5]))
    frame.write_parquet(tmp_path / "bars.parquet")
    assert np.isnan(read_bars(tmp_path / "bars.parquet")["high"][1])


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zip", ".parquet", ".feather"])
@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_file_is_corrupt(tmp_path, suffix, damage):
    path = tmp_path / f"bars{suffix}"
    if suffix in (".parquet", ".feather"):
        frame = pl.concat([expected_bars()] * 50)
        frame.write_parquet(path) if suffix == ".parquet" else frame.write_ipc(path)
    else:
        save(path, ["ts,open,high,low,close,volume", *bar_lines(str) * 50])
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "noise": b"\x00\xff" * 99, "empty": b""}[damage])
    with pytest.raises(CorruptFile, match="bars"):
        read_bars(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:-30], "cut short"),
        (lambda t: t.replace("100.5,", ",", 1), "column open is empty in line 2"),
        (lambda t: t.replace("102.0", "102.0,7", 1), "cannot be read"),
        (lambda t: "", "empty"),
        (lambda t: "\xff\xfe" + t, "UTF-8"),
    ],
)
def test_a_damaged_csv_is_corrupt(tmp_path, change, message):
    path = tmp_path / "bars.csv"
    text = "\n".join(["ts,open,high,low,close,volume", *bar_lines(str)]) + "\n"
    path.write_bytes(change(text).encode("latin-1"))
    with pytest.raises(CorruptFile, match=message):
        read_bars(path)


def test_text_where_a_number_belongs_is_refused(tmp_path):
    lines = ["ts,open,high,low,close,volume", *bar_lines(str)]
    lines[2] = lines[2].replace("102.0", "high")
    with pytest.raises(SchemaMismatch, match=r"another type.*high"):
        read_bars(save(tmp_path / "bars.csv", lines))


def test_a_missing_file_and_a_zip_of_several(tmp_path):
    with pytest.raises(InvalidInput, match="must be an existing file"):
        read_bars(tmp_path / "none.csv")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(SchemaMismatch, match=r"must hold one file.*a\.csv"):
        read_bars(tmp_path / "two.zip")


# ------------------------------------------------------------------------------------------------ trades


def test_bybit_trade_dump_in_float_seconds_newest_first(tmp_path):
    rows = [
        "1585180799.9999,SOLUSDT,Sell,0.5,6500.5,ZeroMinusTick,id-3,1,1,1",
        "1585180700.0647,SOLUSDT,Buy,0.042,6698.5,PlusTick,id-2,1,1,1",
        "1585180700.0647,SOLUSDT,Buy,0.012,6698,PlusTick,id-1,1,1,1",
    ]
    names = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional"
    trades = read_trades(save(tmp_path / "SOLUSDT2020-03-25.csv.gz", [names, *rows]), symbol="SOLUSDT")
    assert trades.schema == pl.Schema(SCHEMAS["trades"])
    assert epoch_ns(trades).tolist() == [1585180700064700000, 1585180700064700000, 1585180799999900000]
    assert trades["trade_id"].to_list() == ["id-1", "id-2", "id-3"]
    assert trades.select("price", "qty", "side").rows() == [(6698.0, 0.012, 1), (6698.5, 0.042, 1), (6500.5, 0.5, -1)]


def test_bybit_spot_trades(tmp_path):
    path = save(tmp_path / "t.csv.gz", ["id,timestamp,price,volume,side,rpi", f"1,{START_MS},20.5,3,sell,0"])
    trades = read_trades(path)
    assert trades.row(0) == (START, "1", 20.5, 3.0, -1)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("spot", [True, False])
@pytest.mark.parametrize("aggregated", [True, False])
def test_binance_trades(tmp_path, header, spot, aggregated):
    if aggregated:
        names, line = (
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
            "{},1.5,2,7,9,{},{}",
        )
    else:
        names, line = "id,price,qty,quote_qty,time,is_buyer_maker", "{},1.5,2,3,{},{}"
    unit = 1_000 if spot else 1  # spot files are in microseconds since 2025
    tail = ("," + "is_best_match", ",True") if spot else ("", "")
    rows = [line.format(i, (START_MS + i) * unit, maker) + tail[1] for i, maker in enumerate(("True", "false"))]
    path = save(tmp_path / "trades.csv.zip", ([names + tail[0]] if header else []) + rows)
    trades = read_trades(path)
    assert trades["side"].to_list() == [-1, 1]  # a buyer who was the maker: the taker sold
    assert trades["ts"].to_list() == [START, START + timedelta(milliseconds=1)]
    assert trades.select("trade_id", "price", "qty").rows() == [("0", 1.5, 2.0), ("1", 1.5, 2.0)]
    read_trades(path, "binance_agg_trades" if aggregated else "binance_trades")


def test_a_side_that_is_neither_is_refused(tmp_path):
    path = save(tmp_path / "t.csv", ["ts,id,price,qty,side", f"{START_MS},1,20.5,3,buy", f"{START_MS},2,20.5,3,both"])
    with pytest.raises(SchemaMismatch, match=r"side of row 1 must be one of buy.*both"):
        read_trades(path)


# ------------------------------------------------------------------------------------------------ funding


def test_binance_funding_states_its_interval(tmp_path):
    rows = [f"{START_MS + 4 * 3_600_000 * i + 3},{4},{0.0001 * i:.4f}" for i in range(3)]
    path = save(tmp_path / "f.csv.zip", ["calc_time,funding_interval_hours,last_funding_rate", *rows])
    funding = read_funding(path)
    assert funding["interval_hours"].to_list() == [4.0] * 3
    assert funding["rate"].to_list() == [0.0, 0.0001, 0.0002]
    assert funding["ts"][0] == START + timedelta(milliseconds=3)  # jitter is kept
    assert read_funding(path, interval_hours=8)["interval_hours"].to_list() == [8.0] * 3


def test_intervals_are_told_from_times_and_holes_stay_visible(tmp_path):
    hours = [0, 8, 16, 24, 40, 48, 56, 57, 58, 59, 61, 62, 63, 64]
    rows = [f"{START_MS + h * 3_600_000 + h % 5},0.0001" for h in hours]
    funding = read_funding(save(tmp_path / "f.csv", ["ts,rate", *rows]))
    assert funding["interval_hours"].to_list() == [8.0] * 7 + [1.0] * 7
    uncovered = [h for h, n, i in zip(hours, hours[1:], funding["interval_hours"][1:], strict=False) if n - i > h]
    assert uncovered == [24, 59]


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=4), st.integers(9, 12), st.data())
def test_an_interval_never_exceeds_the_time_since_the_row_before(regimes, length, data):
    steps = np.repeat(regimes, length)
    hours = 450_000 + np.concatenate(([0], np.cumsum(steps)))
    jitter = np.array(data.draw(st.lists(st.integers(0, 10**9), min_size=hours.size, max_size=hours.size)))
    found = funding_interval_hours(hours * NS_PER_HOUR + jitter)
    assert found[1:].tolist() == steps.tolist()  # without a hole every interval is the difference
    gone = data.draw(st.integers(4, hours.size - 5))
    holed = funding_interval_hours(np.delete(hours, gone) * NS_PER_HOUR)
    if steps[gone - 4 : gone + 4].min() == steps[gone - 4 : gone + 4].max():
        assert holed[gone] == steps[gone]  # the row after the hole does not cover it


def test_settlements_that_show_no_interval_or_too_many(tmp_path):
    path = save(tmp_path / "f.csv", ["ts,rate", f"{START_MS},0.0001"])
    with pytest.raises(InvalidInput, match="single settlement"):
        read_funding(path)
    assert read_funding(path, interval_hours=8.0)["interval_hours"].to_list() == [8.0]
    save(path, ["ts,rate", f"{START_MS},0.0001", f"{START_MS + 60_000},0.0002"])
    with pytest.raises(InvalidInput, match="at least an hour after"):
        read_funding(path)


# ------------------------------------------------------------------------------------------------ order book


def message(kind, ms, update, bids, asks):
    data = {"s": "SOLUSDT", "b": bids, "a": asks, "u": update, "seq": update * 10}
    return json.dumps({"topic": "orderbook.500.SOLUSDT", "type": kind, "ts": ms, "data": data, "cts": ms - 2})


MESSAGES = [
    message("snapshot", START_MS, 1, [["20.1", "5"], ["20.0", "7"]], [["20.2", "1"]]),
    message("delta", START_MS + 100, 2, [], [["20.2", "0"], ["20.3", "4"]]),
    message("delta", START_MS + 200, 3, [], []),
    message("delta", START_MS + 200, 4, [["20.1", "6"]], []),
]


@pytest.mark.parametrize("suffix", [".data", ".data.gz", ".data.zip"])
def test_book_messages_become_levels_in_order(tmp_path, suffix):
    path = save(tmp_path / f"2025-03-01_SOLUSDT_ob500{suffix}", MESSAGES)
    book = read_book(path, symbol="SOLUSDT")
    assert book.schema == pl.Schema(SCHEMAS["book"])
    rows = book.with_columns(pl.col("ts").dt.epoch("ms") - START_MS).rows()
    assert rows == [
        (0, 1, True, 1, 20.1, 5.0), (0, 1, True, 1, 20.0, 7.0), (0, 1, True, -1, 20.2, 1.0),
        (100, 2, False, -1, 20.2, 0.0), (100, 2, False, -1, 20.3, 4.0), (200, 4, False, 1, 20.1, 6.0),
    ]  # fmt: skip
    for lines in (1, 3):
        assert pl.concat(book_chunks(path, lines=lines)).equals(book)


@pytest.mark.parametrize(
    ("lines", "error", "match"),
    [
        ([MESSAGES[0], MESSAGES[1][:-20]], CorruptFile, "lines 1 to 2"),
        ([MESSAGES[0], '{"some": "thing"}'], CorruptFile, "not all are order book messages"),
        ([MESSAGES[0].replace("20.1", "x")], CorruptFile, "lines 1 to 1"),
        ([MESSAGES[0].replace("SOLUSDT", "BTCUSDT")], InvalidInput, "must be the book of SOLUSDT"),
    ],
)
def test_a_damaged_book_is_refused(tmp_path, lines, error, match):
    with pytest.raises(error, match=match):
        read_book(save(tmp_path / "b.data", lines), symbol="SOLUSDT")


def test_a_cut_book_archive_is_corrupt(tmp_path):
    path = save(tmp_path / "b.data.gz", MESSAGES * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFile):
        read_book(path)


# ------------------------------------------------------------------------------------------------ real files


def test_real_binance_month_equals_the_parquet_made_of_it(market_data):
    raw = market_data / "raw/binance_vision/FILUSDT-1m-2023-06.csv.gz"
    if not raw.is_file():
        pytest.skip("no raw Binance Vision file")
    bars = read_bars(raw, interval="1m")
    folder = read_market_folder(market_data, "binance", "usdm", "FILUSDT", "bars", "1m")
    assert bars.height == 30 * 1_440
    assert folder.filter(pl.col("ts").dt.month() == 6).equals(bars)


def test_real_freqtrade_files_equal_the_parquet_made_of_them(market_data):
    raw = market_data / "raw/freqtrade"
    if not raw.is_dir():
        pytest.skip("no raw freqtrade files")
    bars = read_bars(raw / "BTC_USDT_USDT-5m-futures.feather", interval="5m")
    assert (np.diff(epoch_ns(bars)) > 0).all()
    funding = read_funding(raw / "BTC_USDT_USDT-8h-funding_rate.feather")
    assert set(funding["interval_hours"]) == {8.0}
    assert 0 < funding["rate"].abs().max() < 0.01
    mark = read_mark(raw / "BTC_USDT_USDT-8h-mark.feather", interval="8h")
    assert (mark["high"] >= mark["low"]).all()
    joined = mark.join(bars, on="ts")
    assert joined.height > 100
    assert ((joined["open"] / joined["open_right"] - 1).abs() < 0.01).all()  # mark and trade prices are one market


def test_real_bybit_book_equals_the_parquet_made_of_it(market_data):
    raw = sorted((market_data / "raw/bybit_ob500").glob("*.zip"))
    if not raw:
        pytest.skip("no raw Bybit order book")
    book = read_book(raw[0], symbol="XRPUSDT")
    assert read_market_folder(market_data, "bybit", "linear", "XRPUSDT", "book").equals(book)
    first = book.filter(pl.col("update_id") == book["update_id"][0])
    assert first["is_snapshot"].all()
    assert first.filter(pl.col("side") == 1)["price"].max() < first.filter(pl.col("side") == -1)["price"].min()


def test_real_funding_keeps_its_jitter_and_has_no_false_hole(market_data):
    path = market_data / "binance/usdm/_universe/funding.parquet"
    if not path.is_file():
        pytest.skip("no universe of funding")
    symbols = pl.read_parquet(path)["symbol"].unique().sort().to_list()
    changed = 0
    for symbol in symbols:
        funding = read_funding(path, symbol=symbol)
        steps = np.diff(np.rint(epoch_ns(funding) / NS_PER_HOUR))
        assert (steps <= funding["interval_hours"].to_numpy()[1:]).all(), symbol
        changed += funding["interval_hours"].n_unique() > 1
    assert changed > 10  # symbols whose interval changed are among them, and followed


def test_real_folder_of_every_kind(market_data):
    where = (market_data, "bybit", "linear", "SOLUSDT")
    assert read_market_folder(*where, "bars", "5m").schema == pl.Schema(SCHEMAS["bars"])
    assert read_market_folder(*where, "mark", "4h").schema == pl.Schema(SCHEMAS["mark"])
    assert set(read_market_folder(*where, "funding")["interval_hours"]) == {8.0}
    trades = read_market_folder(market_data, "binance", "usdm", "BTCUSDT", "trades")
    assert set(trades["side"]) == {-1, 1}
    assert trades["ts"].is_sorted()


# ------------------------------------------------------------------------------------------------ folder


def test_a_folder_says_what_it_holds(tmp_path):
    place = tmp_path / "bybit" / "linear" / "SOLUSDT"
    place.mkdir(parents=True)
    expected_bars().write_parquet(place / "1m.parquet")
    flow = expected_bars().select("ts", quote_volume=pl.lit(5.0), trade_count=pl.lit(3), taker_buy_volume=pl.lit(1.0))
    flow.head(2).write_parquet(place / "1m_flow.parquet")
    bars = read_market_folder(tmp_path, "bybit", "linear", "SOLUSDT", "bars", "1m")
    same_bars(bars)
    assert bars["trade_count"].to_list() == [3, 3, None]
    with pytest.raises(NotInLake, match=r"holds no 5m\.parquet; it holds 1m\.parquet, 1m_flow\.parquet"):
        read_market_folder(tmp_path, "bybit", "linear", "SOLUSDT", "bars", "5m")
    with pytest.raises(NotInLake, match="no Parquet file"):
        read_market_folder(tmp_path, "bybit", "linear", "BTCUSDT", "funding")
    with pytest.raises(InvalidInput, match="interval must be left out for funding"):
        read_market_folder(tmp_path, "bybit", "linear", "SOLUSDT", "funding", "8h")
    (place / "5m.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptFile):
        read_market_folder(tmp_path, "bybit", "linear", "SOLUSDT", "bars", "5m")
