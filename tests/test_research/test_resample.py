"""Resampling against polars' group_by_dynamic, and the laws of a resumable kernel."""

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.market import Resampler, on_clock, resample
from research.market.bars import INTERVALS, NS_PER_MINUTE, TS, arrays, conform, epoch_ns, interval_ns
from research.market.resample import resample_bars

MIDNIGHT = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
PAIRS = [(a, b) for a in INTERVALS for b in INTERVALS if INTERVALS[b] % INTERVALS[a] == 0]
EXACT = ("open", "high", "low", "close", "trade_count", "bar_count")


def make_bars(n: int, start: int = MIDNIGHT, interval: str = "1m", seed: int = 0, gaps: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    frame = pl.DataFrame(
        {
            "ts": pl.Series(start + np.arange(n) * interval_ns(interval)).cast(TS),
            "open": close * (1 + rng.normal(0, 1e-4, n)),
            "high": close * 1.001,
            "low": close * 0.999,
            "close": close,
            "volume": rng.exponential(50, n),
            "turnover": rng.exponential(5e3, n),
            "trade_count": rng.integers(0, 500, n),
            "taker_buy_volume": rng.exponential(25, n),
        }
    )
    keep = pl.Series(rng.random(n) >= gaps)
    nothing = [pl.when(keep).then(c).otherwise(math.nan).alias(c) for c in frame.columns if frame.schema[c].is_float()]
    return frame.with_columns(*nothing, trade_count=pl.when(keep).then("trade_count"))


def dynamic(bars: pl.DataFrame, interval_from: str, interval_to: str) -> pl.DataFrame:
    """The same by polars, absent bars left out, buckets that are not complete dropped."""
    sums = [c for c in ("volume", "turnover", "trade_count", "taker_buy_volume") if c in bars.columns]
    step, bucket = interval_ns(interval_from), interval_ns(interval_to)
    ts = bars["ts"].to_physical()
    first, end = -(-int(ts[0]) // bucket) * bucket, (int(ts[-1]) + step) // bucket * bucket
    inside = bars.filter(ts.is_between(first, end - 1))
    known = [
        pl.when(pl.col(c).fill_nan(None).is_not_null().any()).then(pl.col(c).fill_nan(None).sum()).alias(c)
        for c in sums
    ]
    grouped = inside.group_by_dynamic("ts", every=interval_to).agg(
        pl.col("open").fill_nan(None).drop_nulls().first(),
        pl.col("high").fill_nan(None).max(),
        pl.col("low").fill_nan(None).min(),
        pl.col("close").fill_nan(None).drop_nulls().last(),
        *known,
        pl.col("close").is_not_nan().sum().cast(pl.Int64).alias("bar_count"),
    )
    return grouped.with_columns(pl.col(pl.Float64).fill_null(math.nan))


def require_same(found: pl.DataFrame, oracle: pl.DataFrame) -> None:
    """Prices and counts to the bit; sums to rounding, because polars adds in another order."""
    assert_frame_equal(found, oracle, rel_tol=1e-12, abs_tol=0.0)
    exact = [c for c in EXACT if c in found.columns]
    assert_frame_equal(found.select("ts", *exact), oracle.select("ts", *exact), check_exact=True)


@pytest.mark.parametrize(("interval_from", "interval_to"), PAIRS)
def test_every_pair_equals_group_by_dynamic(interval_from, interval_to):
    step, bucket = INTERVALS[interval_from], INTERVALS[interval_to]
    n = 3 * bucket // step + 2 * 1_440 // step
    for offset in {0, bucket // step // 2, 1}:  # begins on a bucket, in its midst, one bar after
        bars = make_bars(n, MIDNIGHT + offset * step * NS_PER_MINUTE, interval_from)
        found = resample(bars, interval_from, interval_to)
        assert found.height >= 3
        require_same(found, dynamic(bars, interval_from, interval_to))


@pytest.mark.parametrize("interval_to", ["3m", "5m", "15m", "1h"])
@pytest.mark.parametrize("gaps", [0.1, 0.7, 0.97])
def test_gaps_are_left_out_of_the_bucket_and_counted(interval_to, gaps):
    bars = make_bars(3_000, gaps=gaps)
    found = resample(bars, "1m", interval_to)
    require_same(found, dynamic(bars, "1m", interval_to))
    assert found["bar_count"].sum() == bars["close"].is_not_nan().sum()
    empty = found.filter(pl.col("bar_count") == 0)
    assert empty["close"].is_nan().all()
    assert empty["trade_count"].is_null().all()


def test_a_bar_with_any_price_missing_is_absent():
    for column in ("open", "high", "low", "close"):
        bars = make_bars(3).with_columns(pl.Series(column, [math.nan, 101.0, 101.0]))
        found = resample(bars, "1m", "3m")
        assert found["bar_count"].to_list() == [2]
        assert found["volume"][0] == bars["volume"][1] + bars["volume"][2]
        if column != "open":
            assert found["open"][0] == bars["open"][1]


def test_a_sum_is_nan_only_where_no_bar_has_it():
    bars = make_bars(6).with_columns(
        turnover=pl.Series([math.nan, 2.0, 3.0, math.nan, math.nan, math.nan]),
        trade_count=pl.Series([None, 2, 3, None, None, None], dtype=pl.Int64),
    )
    found = resample(bars, "1m", "3m")
    assert found["turnover"].to_list()[0] == 5.0
    assert math.isnan(found["turnover"][1])
    assert found["trade_count"].to_list() == [5, None]
    assert found["bar_count"].to_list() == [3, 3]


def test_columns_that_are_not_there_are_not_made_up():
    bars = make_bars(10).select("ts", "open", "high", "low", "close")
    assert resample(bars, "1m", "5m").columns == ["ts", "open", "high", "low", "close", "bar_count"]
    assert resample(make_bars(10), "1m", "5m").columns == [*make_bars(1).columns, "bar_count"]
    assert resample(make_bars(10), "1m", "5m").schema == {**make_bars(1).schema, "bar_count": pl.Int64}


def test_columns_may_come_in_any_order():
    bars = make_bars(60)
    shuffled = bars.select(
        "volume", "close", "ts", "low", "high", "open", "turnover", "trade_count", "taker_buy_volume"
    )
    assert_frame_equal(resample(shuffled, "1m", "15m"), resample(bars, "1m", "15m"), check_column_order=False)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT", "AVAXUSDT", "ENAUSDT"])
def test_real_minutes_equal_group_by_dynamic(market_data, symbol):
    bars = pl.read_parquet(market_data / f"binance/usdm/{symbol}/1m.parquet").cast({"ts": TS})
    for interval_to in ("5m", "15m", "1h", "4h", "1d"):
        require_same(resample(on_clock(bars, "1m"), "1m", interval_to), dynamic(bars, "1m", interval_to))


@pytest.mark.parametrize(
    ("fine", "interval_from", "native", "interval_to"),
    [
        ("binance/usdm/BTCUSDT/1m.parquet", "1m", "binance/usdm/BTCUSDT/1h.parquet", "1h"),
        ("binance/usdm/ETHUSDT/1m.parquet", "1m", "binance/usdm/ETHUSDT/1h.parquet", "1h"),
        ("binance/usdm/ETHUSDT/5m.parquet", "5m", "binance/usdm/ETHUSDT/1h.parquet", "1h"),
        ("binance/spot/BTCUSDT/5m.parquet", "5m", "binance/spot/BTCUSDT/1h_2024.parquet", "1h"),
        ("binance/spot/ETHUSDT/5m.parquet", "5m", "binance/spot/ETHUSDT/1h_2024.parquet", "1h"),
    ],
)
def test_real_bars_equal_the_exchange_s_own(market_data, fine, interval_from, native, interval_to):
    bars = on_clock(pl.read_parquet(market_data / fine).cast({"ts": TS}), interval_from)
    theirs = pl.read_parquet(market_data / native).cast({"ts": TS})
    found = resample(bars, interval_from, interval_to)
    whole = found.filter(pl.col("bar_count") == INTERVALS[interval_to] // INTERVALS[interval_from])
    joined = whole.join(theirs, on="ts", suffix="_native")
    assert joined.height > 500
    for column in ("open", "high", "low", "close"):
        assert (joined[column] == joined[f"{column}_native"]).all(), column
    # Binance's own 5m volumes of this one hour sum to 8-11 % less than its 1h bar (MANIFEST.md of the data).
    usual = joined.filter(pl.col("ts").dt.strftime("%Y-%m-%dT%H") != "2023-11-10T15")
    error = ((usual["volume"] - usual["volume_native"]).abs() / usual["volume_native"].clip(1e-9)).max()
    assert error < 1e-9  # volumes are decimals of three digits: only rounding is left


# ---------------------------------------------------------------------------------------------- laws


def pushed(bars: pl.DataFrame, bounds, interval_to: str = "15m") -> pl.DataFrame:
    stream = Resampler("1m", interval_to)
    return pl.concat([stream.push(bars[a:b]) for a, b in pairwise(bounds)])


def same_bits(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    return left.columns == right.columns and all(
        a.to_physical().fill_null(-1).to_numpy().tobytes() == b.to_physical().fill_null(-1).to_numpy().tobytes()
        for a, b in zip(left, right, strict=True)
    )


@given(cuts=st.lists(st.integers(0, 400), max_size=8), seed=st.integers(0, 99), offset=st.integers(0, 20))
def test_any_split_gives_the_same_bytes(cuts, seed, offset):
    bars = make_bars(400, MIDNIGHT + offset * NS_PER_MINUTE, seed=seed, gaps=0.2)
    whole = resample(bars, "1m", "15m")
    assert same_bits(pushed(bars, sorted({0, 400, *cuts})), whole)


def test_one_bar_at_a_time_gives_the_same_bytes_when_the_bucket_closes():
    bars = make_bars(500, MIDNIGHT + 7 * NS_PER_MINUTE, gaps=0.3)
    stream = Resampler("1m", "5m")
    pieces = [stream.push(bars[i : i + 1]) for i in range(500)]
    assert same_bits(pl.concat(pieces), resample(bars, "1m", "5m"))
    closing = [i for i in range(500) if (7 + i) % 5 == 4 and i >= 3]
    assert [i for i, piece in enumerate(pieces) if piece.height] == closing


def test_later_bars_change_nothing_before_them():
    bars = make_bars(300)
    whole = resample(bars, "1m", "15m")
    for k in (1, 14, 15, 16, 150, 299):
        assert same_bits(resample(bars[:k], "1m", "15m"), whole[: k // 15])
        other = pl.concat([bars[:k], make_bars(300, seed=9)[k:]])
        assert same_bits(resample(other, "1m", "15m")[: k // 15], whole[: k // 15])


@pytest.mark.parametrize("k", [0, 1, 7, 14, 15, 16, 200])
def test_a_snapshot_continues_as_if_nothing_had_been(k):
    bars = make_bars(300, gaps=0.1)
    first = Resampler("1m", "15m")
    before = first.push(bars[:k])
    blob = first.snapshot()
    second = Resampler("1m", "15m")
    second.restore(blob)
    assert second.snapshot() == blob
    after = second.push(bars[k:])
    assert same_bits(pl.concat([before, after]), resample(bars, "1m", "15m"))
    assert first.snapshot() == blob  # the first was not touched by the second


def test_a_snapshot_of_something_else_is_refused_and_changes_nothing():
    bars = make_bars(20)
    stream = Resampler("1m", "15m")
    stream.push(bars[:7])
    before = stream.snapshot()
    for blob in (Resampler("1m", "5m").snapshot(), b"", before[:-1], before + b"\0", b"x" * len(before)):
        with pytest.raises(InvalidInput, match="snapshot must be a snapshot of 1m to 15m"):
            stream.restore(blob)
        assert stream.snapshot() == before


def test_a_cold_start_is_exact_from_its_first_whole_bucket():
    bars = make_bars(300)
    whole = resample(bars, "1m", "15m")
    for k in (1, 14, 15, 16, 100):
        assert same_bits(resample(bars[k:], "1m", "15m"), whole[-(-k // 15) :])


def test_inputs_are_not_touched_and_need_not_be_writable():
    bars = make_bars(100)
    ts = bars["ts"].to_physical().to_numpy().copy()
    columns = {c: bars[c].to_numpy().copy() for c in ("open", "high", "low", "close")}
    before = [a.tobytes() for a in (ts, *columns.values())]
    for array in (ts, *columns.values()):
        array.setflags(write=False)
    Resampler("1m", "5m").push_arrays(ts, columns)
    assert [a.tobytes() for a in (ts, *columns.values())] == before


def test_arrays_and_frames_are_the_same_path():
    bars = conform(make_bars(200, gaps=0.1), "bars")
    ts = bars["ts"].to_physical().to_numpy()
    columns = {c: bars[c].cast(pl.Float64).fill_null(math.nan).to_numpy() for c in bars.columns if c != "ts"}
    opens, built = Resampler("1m", "15m").push_arrays(ts, columns)
    frame = resample(bars, "1m", "15m")
    assert opens.dtype == np.int64
    assert opens.tolist() == frame["ts"].to_physical().to_list()
    for name, values in built.items():
        expected = frame[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
        assert values.tobytes() == expected.tobytes()


def test_the_compiled_kernel_equals_its_python_source():
    bars = make_bars(100, MIDNIGHT + 3 * NS_PER_MINUTE, gaps=0.2)
    ts = bars["ts"].to_physical().to_numpy()
    rows = np.array([bars[c].cast(pl.Float64).fill_null(math.nan).to_numpy() for c in bars.columns if c != "ts"])
    results = []
    for run in (resample_bars, resample_bars.py_func):
        state, out = np.zeros(15), np.zeros((10, 21))
        closed = run(ts, rows, 1, 5, state, out)
        results.append((closed, state.tobytes(), out.tobytes()))
    assert results[0] == results[1]


# ---------------------------------------------------------------------------------------------- refusals


def test_a_hole_in_the_clock_is_refused_and_nothing_of_the_chunk_is_taken():
    bars = make_bars(60)
    stream = Resampler("1m", "15m")
    stream.push(bars[:20])
    before = stream.snapshot()
    for chunk in (bars[21:40], bars[19:40], pl.concat([bars[20:30], bars[31:40]]), bars[20:40].reverse()):
        with pytest.raises(MisalignedBars, match=r"bars.ts\[\d+\] must be \d+, one 1m after the bar before.*on_clock"):
            stream.push(chunk)
        assert stream.snapshot() == before
    assert same_bits(stream.push(bars[20:]), resample(bars, "1m", "15m")[1:])


def test_a_first_bar_off_the_grid_is_refused():
    stream = Resampler("5m", "15m")
    with pytest.raises(MisalignedBars, match="5m grid"):
        stream.push(make_bars(3, MIDNIGHT + NS_PER_MINUTE, "5m"))
    assert stream.push(make_bars(3, MIDNIGHT, "5m")).height == 1


@pytest.mark.parametrize(("interval_from", "interval_to"), [("3m", "5m"), ("5m", "1m"), ("8h", "12h"), ("1d", "1m")])
def test_intervals_that_do_not_divide_are_refused(interval_from, interval_to):
    with pytest.raises(InvalidInput, match="interval_to must be a multiple of interval_from"):
        Resampler(interval_from, interval_to)


def test_unknown_intervals_are_refused():
    for pair in (("1m", "7m"), ("2s", "1m")):
        with pytest.raises(InvalidInput, match="interval must be one of"):
            Resampler(*pair)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda b: b.drop("low"), "bars.low is required"),
        (lambda b: b.drop("ts"), "bars.ts must be"),
        (lambda b: b.with_columns(pl.col("ts").to_physical()), "bars.ts must be"),
        (lambda b: b.with_columns(rsi=1.0), "bars.rsi is not one of"),
        (lambda b: b.with_columns(pl.col("close").cast(pl.String)), "frame.close must be numeric"),
    ],
)
def test_other_columns_are_refused(spoil, match):
    with pytest.raises(SchemaMismatch, match=match):
        resample(spoil(make_bars(10)), "1m", "5m")


def test_arrays_of_another_length_are_refused():
    ts = MIDNIGHT + np.arange(5) * NS_PER_MINUTE
    price = np.ones(5)
    with pytest.raises(SchemaMismatch, match=r"bars\.low must have the shape"):
        Resampler("1m", "5m").push_arrays(ts, {"open": price, "high": price, "low": price[:4], "close": price})
    with pytest.raises(SchemaMismatch, match=r"bars\.close is required"):
        Resampler("1m", "5m").push_arrays(ts, {"open": price, "high": price, "low": price})


def test_no_bars_close_no_bucket():
    found = resample(make_bars(0), "1m", "5m")
    assert found.is_empty()
    assert found.columns == [*make_bars(1).columns, "bar_count"]


@pytest.mark.parametrize("ts_type", [TS, pl.Datetime("ms", "UTC"), pl.Datetime("us")])
@pytest.mark.parametrize("values", [[1.5, 2.5, float("nan")], [1.5, 2.5, None], [1, 2, None]])
def test_columns_come_as_arrays_of_their_own(ts_type, values):
    pieces = [
        pl.DataFrame({"ts": [0, 60 * 10**9, 120 * 10**9], "x": values}, strict=False).slice(k, 1) for k in range(3)
    ]
    frame = pl.concat(pieces, rechunk=False).with_columns(pl.col("ts").cast(TS).cast(ts_type))
    before = frame.write_csv()
    ts, (x,) = epoch_ns(frame), arrays(frame, ["x"])
    np.testing.assert_array_equal(ts, [0, 60 * 10**9, 120 * 10**9])
    np.testing.assert_array_equal(x, np.array([np.nan if v is None else v for v in values], dtype=np.float64))
    assert (ts.dtype, x.dtype) == (np.int64, np.float64)
    for found in (ts, x):
        assert found.flags.writeable
        assert found.flags.c_contiguous
        found[:] = 7
    assert frame.write_csv() == before
