"""Storage: what goes in comes out, merges are exact, and damage is named."""

import errno
import io
import itertools
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from research.errors import (
    CorruptFile,
    InvalidInput,
    LakeError,
    MisalignedBars,
    NotInLake,
    SchemaMismatch,
)
from research.market import Lake, sample_instrument
from research.market import lake_files as files
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE, SCHEMAS, TS, conform
from research.market.lake_parquet import encoded

ROOT = Path(__file__).resolve().parents[2]
JANUARY = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
SERIES = ("bybit", "linear", "SOLUSDT", "bars", "1m")


def times(values) -> pl.Series:
    return pl.Series("ts", values, dtype=pl.Int64).cast(TS)


def make_bars(n: int, start: int = JANUARY, step: int = NS_PER_MINUTE, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n))), 2)
    return pl.DataFrame(
        {
            "ts": times(start + np.arange(n) * step),
            "open": close,
            "high": close + 0.02,
            "low": close - 0.01,
            "close": close,
            "volume": np.round(rng.exponential(50, n), 1),
            "turnover": rng.exponential(5e3, n),
            "trade_count": rng.integers(0, 500, n),
            "taker_buy_volume": rng.exponential(25, n),
        }
    )


def make_trades(n: int, start: int = JANUARY, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "ts": times(start + np.cumsum(rng.integers(0, 3, n)) * 10**6),  # several trades share a millisecond
            "trade_id": [f"t{seed}-{i}" for i in range(n)],
            "price": np.round(100 + rng.normal(0, 1, n), 2),
            "qty": rng.exponential(1, n),
            "side": pl.Series(rng.choice([-1, 1], n), dtype=pl.Int8),
        }
    )


def contents(root: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of files."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def parts(root: Path) -> list[str]:
    return sorted(p.name for p in root.rglob("*.parquet"))


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "lake")


# ---------------------------------------------------------------------------------------------- round trip


def test_bars_come_back_as_written_by_month(lake):
    bars = make_bars(3 * 24 * 60, start=JANUARY + 30 * NS_PER_DAY)
    report = lake.write(bars, *SERIES)
    assert (report.rows_added, report.rows_replaced, report.rows_unchanged) == (bars.height, 0, 0)
    assert_frame_equal(lake.bars("bybit", "linear", "SOLUSDT"), bars)
    folder = lake.root / "venue=bybit/market=linear/symbol=SOLUSDT/kind=bars/interval=1m"
    assert sorted(p.name for p in folder.iterdir()) == ["2024-01.parquet", "2024-02.parquet"]


def test_trades_are_kept_by_day_in_order_of_arrival(lake):
    trades = make_trades(5_000, start=JANUARY + NS_PER_DAY - 10**9)
    lake.write(trades, "bybit", "linear", "SOLUSDT", "trades")
    assert parts(lake.root) == ["2024-01-01.parquet", "2024-01-02.parquet"]
    assert_frame_equal(lake.trades("bybit", "linear", "SOLUSDT"), trades)


def test_whole_numbers_may_come_as_floats(lake):
    bars = make_bars(3).with_columns(trade_count=pl.Series([1.0, None, 3.0]))
    lake.write(bars, *SERIES)
    assert lake.read(*SERIES)["trade_count"].to_list() == [1, None, 3]


def test_every_kind_round_trips_with_nan_null_and_nanoseconds(lake):
    at = times([JANUARY + 1, JANUARY + NS_PER_MINUTE + 7])
    frames = {
        "funding": {"ts": at, "rate": [1e-4, float("nan")], "interval_hours": [8.0, 1.0]},
        "open_interest": {"ts": at, "available_ts": at, "open_interest": [1.5, None]},
        "long_short_ratio": {"ts": at, "available_ts": at, "buy_ratio": [0.5, 0.6], "sell_ratio": [0.5, 0.4]},
        "trades": {"ts": at, "trade_id": ["ä", ""], "price": [1.0, -0.0], "qty": [1.0, 2.0], "side": [1, -1]},
        "book": {
            "ts": at, "update_id": [1, 2**62], "is_snapshot": [True, False], "side": [1, -1],
            "price": [0.1, 0.2], "qty": [0.0, 1.0],
        },
    }  # fmt: skip
    for kind, columns in frames.items():
        rows = conform(pl.DataFrame(columns), kind)
        lake.write(rows, "bybit", "linear", "SOLUSDT", kind)
        assert_frame_equal(lake.read("bybit", "linear", "SOLUSDT", kind), rows)
        assert_frame_equal(lake.scan("bybit", "linear", "SOLUSDT", kind).collect(), rows)
        assert lake.write(rows, "bybit", "linear", "SOLUSDT", kind).rows_unchanged == 2
    mark = make_bars(10).select(list(SCHEMAS["mark"]))
    lake.write(mark, "bybit", "linear", "SOLUSDT", "mark", "1m")
    assert_frame_equal(lake.mark("bybit", "linear", "SOLUSDT"), mark)
    assert lake.funding("bybit", "linear", "SOLUSDT").height == 2
    assert lake.open_interest("bybit", "linear", "SOLUSDT")["open_interest"].to_list() == [1.5, None]


def test_optional_columns_are_stored_as_null(lake):
    bars = make_bars(5).drop("turnover", "trade_count", "taker_buy_volume")
    lake.write(bars, *SERIES)
    stored = lake.read(*SERIES)
    assert stored.columns == list(SCHEMAS["bars"])
    assert stored.null_count().row(0) == (0, 0, 0, 0, 0, 0, 5, 5, 5)


def test_real_bars_and_trades_survive(lake, market_data):
    bars = conform(pl.read_parquet(market_data / "binance/usdm/ETHUSDT/1m.parquet"), "bars")
    lake.write(bars, "binance", "linear", "ETHUSDT", "bars", "1m")
    assert_frame_equal(lake.bars("binance", "linear", "ETHUSDT"), bars)
    assert parts(lake.root) == ["2025-05.parquet", "2025-06.parquet"]
    raw = pl.read_parquet(market_data / "binance/usdm/BTCUSDT/trades_20240808.parquet")
    side = pl.when(pl.col("side") == "buy").then(1).otherwise(-1).alias("side")
    trades = conform(raw.select("ts", pl.col("trade_id").cast(pl.String), "price", "qty", side), "trades")
    lake.write(trades, "binance", "linear", "BTCUSDT", "trades")
    assert_frame_equal(lake.trades("binance", "linear", "BTCUSDT"), trades)


def test_other_readers_of_hive_partitions_open_the_lake(lake):
    lake.write(make_bars(10), *SERIES)
    lake.write(make_bars(10), "bybit", "linear", "BTCUSDT", "bars", "1m")
    table = pl.scan_parquet(lake.root / "**/*.parquet", hive_partitioning=True).collect()
    assert set(table["symbol"]) == {"SOLUSDT", "BTCUSDT"}
    assert set(table["interval"]) == {"1m"}


# ---------------------------------------------------------------------------------------------- merging


def test_the_same_rows_again_leave_the_files_untouched(lake):
    bars = make_bars(3_000, start=JANUARY + 30 * NS_PER_DAY)
    lake.write(bars, *SERIES)
    before = contents(lake.root)
    stamps = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in lake.root.rglob("*.parquet")}
    report = lake.write(bars[500:2_500], *SERIES)
    assert (report.rows_added, report.rows_replaced, report.rows_unchanged) == (0, 0, 2_000)
    assert contents(lake.root) == before
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in lake.root.rglob("*.parquet")} == stamps


def test_only_the_partition_that_changes_is_written(lake):
    bars = make_bars(4_000, start=JANUARY + 30 * NS_PER_DAY)
    lake.write(bars, *SERIES)
    january = next(lake.root.rglob("2024-01.parquet")).stat().st_ino
    changed = bars.with_columns(
        pl.when(pl.col("ts") == bars["ts"][-1]).then(1.5).otherwise(pl.col("volume")).alias("volume")
    )
    report = lake.write(changed, *SERIES)
    assert (report.rows_added, report.rows_replaced, report.rows_unchanged) == (0, 1, 3_999)
    assert next(lake.root.rglob("2024-01.parquet")).stat().st_ino == january
    assert_frame_equal(lake.read(*SERIES), changed)


def test_overlap_replaces_adds_and_keeps(lake):
    old, new = make_bars(100), make_bars(100, start=JANUARY + 60 * NS_PER_MINUTE, seed=1)
    lake.write(old, *SERIES)
    report = lake.write(new, *SERIES)
    assert (report.rows_added, report.rows_replaced, report.rows_unchanged) == (60, 40, 0)
    assert_frame_equal(lake.read(*SERIES), pl.concat([old[:60], new]))


def test_rows_before_and_between_stored_ones_are_merged_in_order(lake):
    bars = make_bars(300)
    for chosen in (bars[100:200:2], bars[:50], bars[250:], bars[101:200:2], bars[50:100], bars[200:250]):
        assert lake.write(chosen, *SERIES).rows_added == chosen.height
    assert_frame_equal(lake.read(*SERIES), bars)


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 400), min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_any_order_of_overlapping_writes_gives_the_same_bytes(tmp_path_factory, cuts, order):
    bars = make_bars(400, start=JANUARY + 31 * NS_PER_DAY - 200 * NS_PER_MINUTE)
    whole = Lake(tmp_path_factory.mktemp("whole"))
    whole.write(bars, *SERIES)
    pieces = Lake(tmp_path_factory.mktemp("pieces"))
    bounds = sorted({0, 400, *cuts})
    chunks = [bars[max(0, a - 20) : b] for a, b in itertools.pairwise(bounds)]
    order.shuffle(chunks)
    for chunk in chunks:
        pieces.write(chunk, *SERIES)
    assert contents(pieces.root) == contents(whole.root)


def test_nan_and_null_equal_themselves_in_a_merge(lake):
    bars = make_bars(4).with_columns(
        volume=pl.Series([float("nan"), 1.0, 2.0, 3.0]), turnover=pl.Series([None, float("nan"), 1.0, None])
    )
    lake.write(bars, *SERIES)
    assert lake.write(bars, *SERIES).rows_unchanged == 4
    known = bars.with_columns(turnover=pl.Series([5.0, float("nan"), 1.0, None]))
    report = lake.write(known, *SERIES)
    assert (report.rows_replaced, report.rows_unchanged) == (1, 3)


def test_a_source_without_optional_columns_loses_none_that_are_stored(lake):
    bars = make_bars(4)
    lake.write(bars, *SERIES)
    bare = bars.drop("turnover", "trade_count", "taker_buy_volume")
    assert lake.write(bare, *SERIES).rows_unchanged == 4
    assert_frame_equal(lake.read(*SERIES), bars)
    revised = bare.with_columns(close=pl.when(pl.col("ts") == bare["ts"][2]).then(7.0).otherwise("close"))
    assert lake.write(revised, *SERIES).rows_replaced == 1
    assert lake.read(*SERIES)["turnover"].is_null().to_list() == [False, False, True, False]  # never a mixed row


def test_trades_of_one_time_keep_their_places_when_merged(lake):
    trades = make_trades(2_000)
    target = ("bybit", "linear", "SOLUSDT", "trades")
    lake.write(trades[:1_200], *target)
    report = lake.write(trades[800:], *target)
    assert (report.rows_added, report.rows_unchanged) == (800, 400)
    assert_frame_equal(lake.read(*target), trades)
    revised = trades.with_columns(qty=pl.when(pl.col("trade_id") == "t0-7").then(9.0).otherwise("qty"))
    assert lake.write(revised[:20], *target).rows_replaced == 1
    assert_frame_equal(lake.read(*target), revised)


def test_equal_rows_give_equal_bytes_whatever_the_frame_was_made_of():
    bars = make_bars(1_000)
    pieces = pl.concat([bars[:1], bars[1:400], bars[400:]], rechunk=False)
    assert pieces.n_chunks() == 3
    assert encoded(pieces, "bars") == encoded(bars, "bars")


def test_an_empty_frame_writes_nothing(lake):
    report = lake.write(make_bars(0), *SERIES)
    assert (report.rows_added, report.rows_replaced, report.rows_unchanged) == (0, 0, 0)
    assert not lake.root.exists()


# ---------------------------------------------------------------------------------------------- reading


def test_ranges_include_the_start_and_exclude_the_end(lake):
    bars = make_bars(200, start=JANUARY + 31 * NS_PER_DAY - 100 * NS_PER_MINUTE)
    lake.write(bars, *SERIES)
    first = JANUARY + 31 * NS_PER_DAY - 101 * NS_PER_MINUTE
    bounds = [None, *(first + k * 37 * NS_PER_MINUTE + k % 3 - 1 for k in range(7))]  # on a minute and 1 ns beside it
    for start in bounds:
        for end in bounds:
            if start is not None and end is not None and start > end:
                continue
            keep = np.ones(200, bool)
            ts = bars["ts"].to_physical().to_numpy()
            keep &= (ts >= start) if start is not None else keep
            keep &= (ts < end) if end is not None else keep
            expected = bars.filter(pl.Series(keep))
            assert_frame_equal(lake.read(*SERIES, start=start, end=end), expected)
            assert_frame_equal(lake.scan(*SERIES, start=start, end=end).collect(), expected)
            assert_frame_equal(pl.concat([bars[:0], *lake.blocks(*SERIES, start=start, end=end, rows=7)]), expected)


@pytest.mark.parametrize(
    "start",
    [
        "2024-01-01T01:00",
        "2024-01-01T01:00:00Z",
        "2024-01-01T03:00:00+02:00",
        datetime(2024, 1, 1, 1),  # no zone means UTC
        datetime(2024, 1, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 3, tzinfo=timezone(timedelta(hours=2))),
        JANUARY + 60 * NS_PER_MINUTE,
        np.int64(JANUARY + 60 * NS_PER_MINUTE),
    ],
)
def test_a_bound_is_text_datetime_or_nanoseconds(lake, start):
    bars = make_bars(100)
    lake.write(bars, *SERIES)
    assert_frame_equal(lake.read(*SERIES, start=start), bars[60:])


def test_a_bound_may_be_a_day(lake):
    bars = make_bars(2 * 1_440)
    lake.write(bars, *SERIES)
    assert_frame_equal(lake.read(*SERIES, start=date(2024, 1, 2)), bars[1_440:])
    assert_frame_equal(lake.read(*SERIES, end="2024-01-02"), bars[:1_440])


@pytest.mark.parametrize("bound", ["yesterday", "2024-13-01", "", 1_704_067_200_000, 0, 1.5, True, 2**63, b"2024"])
def test_a_bound_that_cannot_be_meant_is_refused(lake, bound):
    lake.write(make_bars(1), *SERIES)
    with pytest.raises(InvalidInput, match="start"):
        lake.read(*SERIES, start=bound)


def test_a_start_after_the_end_is_refused(lake):
    lake.write(make_bars(1), *SERIES)
    with pytest.raises(InvalidInput, match="must not be later than end"):
        lake.read(*SERIES, start="2024-02-01", end="2024-01-01")


def test_nothing_stored_differs_from_nothing_in_range(lake):
    with pytest.raises(NotInLake, match="bybit/linear/SOLUSDT/bars/1m"):
        lake.read(*SERIES)
    with pytest.raises(NotInLake):
        lake.scan(*SERIES)
    with pytest.raises(NotInLake):
        lake.blocks(*SERIES)
    lake.write(make_bars(1), *SERIES)
    for start in ("2023-01-01", "2024-01-20", "2025-01-01"):
        empty = lake.read(*SERIES, start=start, end=start)
        assert empty.is_empty()
        assert empty.schema == pl.Schema(SCHEMAS["bars"])
        assert lake.scan(*SERIES, start=start, end=start).collect().schema == empty.schema
        assert list(lake.blocks(*SERIES, start=start, end=start)) == []


def test_files_outside_the_range_are_not_opened(lake):
    lake.write(make_bars(100, start=JANUARY + 31 * NS_PER_DAY - 50 * NS_PER_MINUTE), *SERIES)
    next(lake.root.rglob("2024-01.parquet")).write_bytes(b"damaged")
    assert lake.read(*SERIES, start="2024-02-01").height == 50
    assert lake.scan(*SERIES, start="2024-02-01").collect().height == 50
    with pytest.raises(CorruptFile, match="2024-01"):
        lake.read(*SERIES)


def test_scan_is_lazy_and_pushes_filter_and_projection_into_the_file(lake):
    lake.write(make_bars(500), *SERIES)
    query = lake.scan(*SERIES, start="2024-01-01T01:00").filter(pl.col("close") > 0).select("close")
    plan = query.explain()
    assert "PROJECT 2/9 COLUMNS" in plan
    assert plan.count("FILTER") == 0
    assert "SELECTION" in plan
    assert query.collect().height == 440


@pytest.mark.parametrize("rows", [1, 7, 100, 149, 150, 151, 10_000])
def test_blocks_are_of_the_size_asked_for_across_files(lake, rows):
    bars = make_bars(150, start=JANUARY + 31 * NS_PER_DAY - 60 * NS_PER_MINUTE)
    lake.write(bars, *SERIES)
    blocks = list(lake.blocks(*SERIES, rows=rows))
    assert [b.height for b in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert 0 < blocks[-1].height <= rows
    assert_frame_equal(pl.concat(blocks), bars)


def test_blocks_refuse_a_size_below_one(lake):
    with pytest.raises(InvalidInput, match="rows"):
        lake.blocks(*SERIES, rows=0)


def test_several_row_groups_are_read_in_order_and_skipped_by_statistics(lake):
    trades = make_trades(200_000)
    target = ("bybit", "linear", "SOLUSDT", "trades")
    lake.write(trades, *target)
    ts = trades["ts"].to_physical()
    assert_frame_equal(lake.read(*target), trades)
    for i in (65_535, 65_536, 131_072):  # a time on both sides of a row group's end is not lost
        low, high = int(ts[i - 3]), int(ts[i + 3]) + 1
        assert_frame_equal(lake.read(*target, start=low, end=high), trades.filter(ts.is_between(low, high - 1)))


def test_streaming_keeps_memory_flat(tmp_path):
    """Four times the rows in one file must not cost more memory, where reading whole costs 4 x 20 MB."""
    script = textwrap.dedent(
        """
        import resource, sys
        from research.market import Lake
        first = None
        total = 0
        for block in Lake(sys.argv[1]).blocks("x", "linear", "Y", "trades", rows=50_000):
            total += block.height
            now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            first = first or now
        print(total, (now - first) // 1024)
        """
    )
    grown = {}
    for n in (400_000, 1_600_000):
        root = tmp_path / str(n)
        trades = pl.DataFrame(
            {
                "ts": times(JANUARY + np.arange(n) * 10**6),
                "trade_id": pl.Series(np.arange(n)).cast(pl.String),
                "price": np.random.default_rng(1).normal(100, 1, n),
                "qty": 1.0,
                "side": pl.Series(np.ones(n), dtype=pl.Int8),
            }
        )
        Lake(root).write(trades, "x", "linear", "Y", "trades")
        assert len(parts(root)) == 1
        output = subprocess.run(
            [sys.executable, "-c", script, str(root)], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(output[0]) == n
        grown[n] = int(output[1])
    assert grown[1_600_000] < grown[400_000] + 40, grown  # whole frames would differ by 1.2 M rows x 48 bytes = 58 MB


# ---------------------------------------------------------------------------------------------- refusals


def test_unsorted_or_repeated_bars_are_refused_and_nothing_is_written(lake):
    bars = make_bars(10)
    for rows in (bars.reverse(), pl.concat([bars, bars[-1:]]), pl.concat([bars[:5], bars[4:]])):
        with pytest.raises(MisalignedBars, match=r"SOLUSDT.bars.ts\[\d+\] must be later than the row before.*quality"):
            lake.write(rows, *SERIES)
    assert not lake.root.exists()


def test_bars_off_their_grid_are_refused(lake):
    with pytest.raises(MisalignedBars, match="5m grid"):
        lake.write(make_bars(10), "bybit", "linear", "SOLUSDT", "bars", "5m")


def test_trades_may_share_a_time_but_not_go_back_or_repeat_a_key(lake):
    trades = make_trades(100)
    target = ("bybit", "linear", "SOLUSDT", "trades")
    with pytest.raises(MisalignedBars, match="must not be earlier"):
        lake.write(trades.reverse(), *target)
    with pytest.raises(MisalignedBars, match="repeats the key"):
        lake.write(pl.concat([trades, trades[-1:]]), *target)


def test_an_empty_key_is_refused(lake):
    trades = make_trades(3).with_columns(trade_id=pl.Series(["a", None, "b"]))
    with pytest.raises(SchemaMismatch, match=r"trade_id\[1\] must not be empty"):
        lake.write(trades, "bybit", "linear", "SOLUSDT", "trades")
    bars = make_bars(3).with_columns(ts=pl.Series([JANUARY, None, JANUARY + NS_PER_MINUTE]).cast(TS))
    with pytest.raises(SchemaMismatch, match=r"ts\[1\] must not be empty"):
        lake.write(bars, *SERIES)


MS = JANUARY // 10**6


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([MS, MS + 60_000], "ns"),  # milliseconds as nanoseconds: 1970
        ([MS, MS + 60_000], "us"),
        ([JANUARY // 1_000, JANUARY // 1_000 + 60_000_000], "ms"),  # microseconds as milliseconds: year 55970
        ([JANUARY, JANUARY + NS_PER_MINUTE], "us"),  # would overflow when cast to nanoseconds
        ([MS // 1_000, MS // 1_000 + 60], "ms"),  # seconds as milliseconds: 1970
        ([MS, MS * 1_000], "ms"),  # the unit changes inside the frame
        ([JANUARY // 10**6, JANUARY], "ns"),
    ],
)
def test_times_in_another_unit_than_said_are_refused(lake, values, unit):
    bars = make_bars(2).with_columns(ts=pl.Series(values, dtype=pl.Int64).cast(pl.Datetime(unit, "UTC")))
    with pytest.raises(SchemaMismatch, match=rf"ts\[\d\] must lie in the years 2009 to 2099; the column is in {unit}"):
        lake.write(bars, *SERIES)
    assert not lake.root.exists()


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_any_honest_unit_is_stored_as_nanoseconds(lake, unit):
    bars = make_bars(5)
    lake.write(bars.with_columns(pl.col("ts").cast(pl.Datetime(unit, "UTC"))), *SERIES)
    assert_frame_equal(lake.read(*SERIES), bars)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b.drop("close"),
        lambda b: b.rename({"turnover": "quote_volume"}),
        lambda b: b.with_columns(pl.col("ts").dt.replace_time_zone(None)),
        lambda b: b.with_columns(pl.col("ts").to_physical()),
        lambda b: b.with_columns(pl.col("close").cast(pl.String)),
        lambda b: b.with_columns(pl.col("ts").alias("close")),
        lambda b: b.with_columns(trade_count=pl.Series([1.0, 2.5, 3.0])),
        lambda b: b.with_columns(trade_count=pl.Series([1.0, float("nan"), 3.0])),
    ],
)
def test_a_frame_of_another_schema_is_refused(lake, spoil):
    with pytest.raises(SchemaMismatch, match=r"SOLUSDT\.bars"):
        lake.write(spoil(make_bars(3)), *SERIES)
    assert not lake.root.exists()


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("..", "linear", "SOLUSDT", "bars", "1m"), "venue"),
        (("bybit", "a/b", "SOLUSDT", "bars", "1m"), "market"),
        (("bybit", "linear", "", "bars", "1m"), "symbol"),
        (("bybit", "linear", "A=B", "bars", "1m"), "symbol"),
        (("bybit", "linear", "SOLUSDT\n", "bars", "1m"), "symbol"),
        (("bybit", "linear", "SOLUSDT", "candles", "1m"), "kind"),
        (("bybit", "linear", "SOLUSDT", "bars", None), "interval is required"),
        (("bybit", "linear", "SOLUSDT", "bars", "7m"), "interval must be one of"),
        (("bybit", "linear", "SOLUSDT", "funding", "8h"), "interval does not apply"),
    ],
)
def test_names_that_cannot_be_a_series_are_refused(lake, names, match):
    for call in (lambda: lake.read(*names), lambda: lake.write(make_bars(1), *names)):
        with pytest.raises(InvalidInput, match=match):
            call()


# ---------------------------------------------------------------------------------------------- damage


def readers(lake: Lake):
    return (lambda: lake.read(*SERIES), lambda: list(lake.blocks(*SERIES)), lambda: lake.write(make_bars(5), *SERIES))


@pytest.mark.parametrize("keep", [0, 3, 4, 100, -1, -8, -100])
def test_a_file_cut_short_is_named(lake, keep):
    lake.write(make_bars(500), *SERIES)
    path = next(lake.root.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:keep])
    before = contents(lake.root)
    for call in (*readers(lake), lambda: lake.scan(*SERIES), lake.series):
        with pytest.raises(CorruptFile, match=r"2024-01\.parquet"):
            call()
    assert contents(lake.root) == before


def test_no_flipped_bit_passes_for_data(lake):
    """polars' own reader passes most of these (see lake_parquet): a checksum per page is why we do not use it."""
    bars = make_bars(2_000)
    lake.write(bars, *SERIES)
    path = next(lake.root.rglob("*.parquet"))
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    refused = 0
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for position in [*rng.integers(0, len(whole), 150), *rng.integers(footer, len(whole), 150)]:
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoilt)
        try:
            found = lake.read(*SERIES)
        except (CorruptFile, SchemaMismatch) as error:
            refused += "2024-01.parquet" in str(error)
        else:
            assert_frame_equal(found, bars)
    assert refused > 280  # all but the mark of the checksum itself


def test_a_damaged_file_is_not_overwritten_by_a_merge(lake):
    lake.write(make_bars(500, start=JANUARY + 31 * NS_PER_DAY - 250 * NS_PER_MINUTE), *SERIES)
    next(lake.root.rglob("2024-02.parquet")).write_bytes(b"PAR1 damaged PAR1")
    before = contents(lake.root)
    with pytest.raises(CorruptFile, match="2024-02"):
        lake.write(make_bars(500, start=JANUARY + 31 * NS_PER_DAY - 250 * NS_PER_MINUTE, seed=2), *SERIES)
    assert contents(lake.root) == before  # not January either, though it was staged first


def test_a_file_of_another_schema_is_named(lake):
    lake.write(make_bars(5), *SERIES)
    path = next(lake.root.rglob("*.parquet"))
    for frame in (
        make_bars(5).drop("turnover"),
        make_bars(5).with_columns(pl.col("close").cast(pl.Float32)),
        make_bars(5).with_columns(pl.col("ts").cast(pl.Datetime("ms", "UTC"))),
    ):
        frame.write_parquet(path)
        for call in (*readers(lake), lambda: lake.scan(*SERIES), lake.series):
            with pytest.raises(SchemaMismatch, match=r"2024-01\.parquet"):
                call()


def test_a_file_by_another_program_is_read_if_its_schema_is_ours(lake):
    bars, trades = make_bars(500), make_trades(500)
    for kind, rows, names in (("bars", bars, SERIES), ("trades", trades, (*SERIES[:3], "trades"))):
        lake.write(rows, *names)
        path = next(lake.root.rglob(f"kind={kind}/**/*.parquet"))
        rows.write_parquet(path, row_group_size=100)
        assert_frame_equal(lake.read(*names, start=rows["ts"][150], end=rows["ts"][350]), rows.filter(
            pl.col("ts").is_between(rows["ts"][150], rows["ts"][350], closed="left")
        ))  # fmt: skip
        assert lake.write(rows, *names).rows_unchanged == 500
    table = lake.series()
    assert table["rows"].to_list() == [500, 500]
    assert table["last_ts"].to_list() == [bars["ts"][-1], trades["ts"][-1]]


def test_a_footer_s_checksum_is_where_other_readers_skip_it(lake):
    bars = make_bars(500)
    content = encoded(bars, "bars")
    length = int.from_bytes(content[-8:-4], "little")
    assert content[-16 - length : -12 - length] == b"LKF1"
    assert_frame_equal(pl.read_parquet(io.BytesIO(content)), bars)
    assert pq.read_table(pa.BufferReader(content)).num_rows == 500


def test_a_file_under_another_name_or_out_of_order_is_named(lake):
    lake.write(make_bars(5), *SERIES)
    path = next(lake.root.rglob("*.parquet"))
    path.rename(path.with_name("2024-03.parquet"))
    with pytest.raises(CorruptFile, match=r"2024-03\.parquet holds rows that are unsorted or of another partition"):
        lake.read(*SERIES)
    path.with_name("2024-03.parquet").unlink()
    path.write_bytes(encoded(make_bars(5).reverse(), "bars"))
    with pytest.raises(CorruptFile, match="unsorted"):
        lake.read(*SERIES)


def test_strange_files_in_the_folder_are_not_the_lakes(lake):
    bars = make_bars(5)
    lake.write(bars, *SERIES)
    folder = next(lake.root.rglob("*.parquet")).parent
    for name in ("notes.parquet", "2024-1.parquet", "2024-01 (copy).parquet", ".2024-01.parquet.1.2.tmp", "README"):
        (folder / name).write_bytes(b"no Parquet")
    assert_frame_equal(lake.read(*SERIES), bars)
    assert lake.series()["rows"].to_list() == [5]


# ---------------------------------------------------------------------------------------------- a full disk


def test_a_file_larger_than_the_process_may_write_leaves_the_lake_as_it_was(tmp_path):
    """RLIMIT_FSIZE makes the kernel itself refuse the bytes, as a full disk does, after some were written."""
    script = textwrap.dedent(
        """
        import resource, sys
        import polars as pl
        from research.errors import LakeError
        from research.market import Lake
        root, source = sys.argv[1:]
        frame = pl.read_parquet(source)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            Lake(root).write(frame, "bybit", "linear", "SOLUSDT", "bars", "1m")
        except LakeError as error:
            print(error)
        """
    )
    lake = Lake(tmp_path / "lake")
    old = make_bars(200, start=JANUARY + 31 * NS_PER_DAY - 100 * NS_PER_MINUTE)
    new = make_bars(4_000, start=JANUARY + 31 * NS_PER_DAY - 150 * NS_PER_MINUTE, seed=1)  # January fits, February not
    new.write_parquet(tmp_path / "new.parquet")
    arguments = [sys.executable, "-c", script, str(lake.root), str(tmp_path / "new.parquet")]
    said = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "could not be written: the file would exceed the size" in said
    assert contents(lake.root) == {}  # nor any directory
    lake.write(old, *SERIES)
    before = contents(lake.root)
    said = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "could not be written" in said
    assert contents(lake.root) == before
    assert lake.write(new, *SERIES).rows_added == 3_800
    assert_frame_equal(lake.read(*SERIES), new)


def test_a_disk_that_really_is_full_leaves_the_lake_as_it_was(tmp_path):
    """The same on a file system of 192 kB, in a mount namespace of its own."""
    script = textwrap.dedent(
        """
        import subprocess, sys
        import polars as pl
        from research.errors import LakeError
        from research.market import Lake
        from pathlib import Path
        root, source = Path(sys.argv[1]), sys.argv[2]
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192k", "lake", root], capture_output=True).returncode:
            sys.exit(77)
        files = lambda: {p: p.read_bytes() if p.is_file() else None for p in root.rglob("*")}
        frame = pl.read_parquet(source)
        names = ("bybit", "linear", "SOLUSDT", "bars", "1m")
        Lake(root).write(frame[:200], *names)
        before, refused = files(), 0
        for target in (names, ("bybit", "linear", "ETHUSDT", "bars", "1m")):
            try:
                Lake(root).write(frame, *target)
            except LakeError as error:
                refused += "the disk is full" in str(error)
        assert refused == 2 and files() == before, (refused, files().keys())
        assert Lake(root).read(*names).equals(frame[:200])
        """
    )
    root = tmp_path / "lake"
    root.mkdir()
    make_bars(20_000, start=JANUARY + 30 * NS_PER_DAY).write_parquet(tmp_path / "new.parquet")
    command = [sys.executable, "-c", script, str(root), str(tmp_path / "new.parquet")]
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("no unshare or mount")
    ended = subprocess.run(["unshare", "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("mounting a small file system is not permitted here")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("call", ["write", "fsync", "open", "replace"])
def test_any_failing_call_is_a_lake_error_and_leaves_no_trace(lake, monkeypatch, code, call):
    lake.write(make_bars(100), *SERIES)
    before = contents(lake.root)
    real = getattr(os, call)

    def failing(*args, **kwargs):
        if call != "open" or args[1] & os.O_CREAT:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, failing)
        with pytest.raises(LakeError, match="kind=bars"):
            lake.write(make_bars(200, seed=1), *SERIES)
        with pytest.raises(LakeError, match="ETHUSDT"):
            lake.write(make_bars(200, seed=1), "bybit", "linear", "ETHUSDT", "bars", "1m")
    assert contents(lake.root) == before


def test_a_full_disk_is_called_so(lake, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(LakeError, match="the disk is full"):
        lake.write(make_bars(2), *SERIES)


def test_short_writes_are_continued(lake, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda fd, content: real(fd, bytes(content[:100])))
    bars = make_bars(500)
    lake.write(bars, *SERIES)
    assert_frame_equal(lake.read(*SERIES), bars)


# ---------------------------------------------------------------------------------------------- writers and readers


def test_leftovers_of_dead_writers_are_ignored_and_swept(lake):
    bars = make_bars(10)
    lake.write(bars[:5], *SERIES)
    folder = next(lake.root.rglob("*.parquet")).parent
    leftover = folder / ".2024-01.parquet.999999.1.tmp"
    leftover.write_bytes(b"half a file")
    assert lake.read(*SERIES).height == 5
    lake.write(bars[:5], *SERIES)
    assert not leftover.exists()
    assert parts(lake.root) == ["2024-01.parquet"]


def test_a_writer_waits_for_the_one_before_and_does_not_sweep_its_files(lake):
    lake.write(make_bars(1), *SERIES)
    folder = next(lake.root.rglob("*.parquet")).parent
    living = folder / ".2024-01.parquet.1.1.tmp"
    done = threading.Event()

    def second():
        lake.write(make_bars(50), *SERIES)
        done.set()

    thread = threading.Thread(target=second)
    with files.locked(folder):
        living.write_bytes(b"being written")
        thread.start()
        assert not done.wait(0.3)
        assert living.exists()
        assert lake.read(*SERIES).height == 1  # readers do not wait
    thread.join(20)
    assert done.is_set()
    assert not living.exists()
    assert lake.read(*SERIES).height == 50


def test_many_writers_at_once_lose_nothing(lake):
    bars = make_bars(400, start=JANUARY + 31 * NS_PER_DAY - 200 * NS_PER_MINUTE)
    failures = []

    def work(k):
        try:
            for i in range(k, 400, 40 * 4):
                lake.write(bars[i : i + 40], *SERIES)
        except Exception as error:  # noqa: BLE001 - carried to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(40 * k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert_frame_equal(lake.read(*SERIES), bars)


def test_a_writer_that_failed_first_does_not_take_the_directory_from_one_that_waits(lake):
    folder = lake.root / "venue=a"
    entered = threading.Event()

    def second():
        with files.locked(folder):
            entered.set()
            (folder / "mine").write_bytes(b"")

    thread = threading.Thread(target=second)

    def first():
        with files.locked(folder):
            thread.start()
            assert not entered.wait(0.2)
            raise KeyError

    with pytest.raises(KeyError):
        first()
    thread.join(20)
    assert (folder / "mine").exists()


def test_a_stream_goes_on_with_the_file_it_opened_when_a_writer_replaces_it(lake):
    trades = make_trades(150_000)
    target = ("bybit", "linear", "SOLUSDT", "trades")
    lake.write(trades, *target)
    stream = lake.blocks(*target, rows=10_000)
    seen = [next(stream)]
    lake.write(trades.with_columns(qty=pl.col("qty") + 1.0), *target)
    seen.extend(stream)
    assert_frame_equal(pl.concat(seen), trades)


# ---------------------------------------------------------------------------------------------- listing, instruments


def test_series_lists_what_is_stored(lake):
    assert lake.series().is_empty()
    bars = make_bars(100, start=JANUARY + 31 * NS_PER_DAY - 50 * NS_PER_MINUTE)
    lake.write(bars, *SERIES)
    lake.write(make_trades(200_000), "bybit", "spot", "BTCUSDT", "trades")
    lake.write_instrument(sample_instrument("SOLUSDT"))
    table = lake.series()
    assert table.columns == ["venue", "market", "symbol", "kind", "interval", "rows", "first_ts", "last_ts", "bytes"]
    assert table.select("venue", "market", "symbol", "kind", "interval", "rows").rows() == [
        ("bybit", "linear", "SOLUSDT", "bars", "1m", 100),
        ("bybit", "spot", "BTCUSDT", "trades", None, 200_000),
    ]
    assert table["first_ts"][0] == bars["ts"][0]
    assert table["last_ts"][0] == bars["ts"][-1]
    assert table["bytes"].to_list() == [
        sum(p.stat().st_size for p in lake.root.rglob("interval=1m/*")),
        sum(p.stat().st_size for p in lake.root.rglob("kind=trades/*")),
    ]


def test_an_instrument_is_stored_beside_its_series(lake):
    instrument = sample_instrument("SOLUSDT")
    with pytest.raises(NotInLake, match="SOLUSDT"):
        lake.instrument("bybit", "linear", "SOLUSDT")
    assert lake.write_instrument(instrument)
    path = lake.root / "venue=bybit/market=linear/symbol=SOLUSDT/instrument.json"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not lake.write_instrument(instrument)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert lake.instrument("bybit", "linear", "SOLUSDT") == instrument
    for content in (b"", b"{", b"{}", b"\xff\xfe", b"[1]", path.read_bytes().replace(b'"tick": 0.01', b'"tick": -1')):
        path.write_bytes(content)
        with pytest.raises(CorruptFile, match=r"instrument\.json"):
            lake.instrument("bybit", "linear", "SOLUSDT")
