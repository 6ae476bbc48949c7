"""Bars from trades against plain Python, the exchange's own bars, and the laws of a resumable kernel."""

import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.features.inputs import INPUTS
from research.market.bars import SCHEMAS, TS, interval_ns
from research.market.event_bars import MAX_BARS, epoch_time, tick_ratio
from research.market.trade_bars import TradeBars, trade_bars
from research.market.trade_footprint import LEVELS, read_footprint
from research.market.trade_kernels import COLUMNS, COUNTS, MARKS, STATE_SIZE, aggregate_trades

MIDNIGHT = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
SECOND = 10**9
MINUTE = 60 * SECOND
TICK = 0.1


def frame_of(ts, price, qty, side, ids=None) -> pl.DataFrame:
    ids = [f"t{k}" for k in range(len(ts))] if ids is None else ids
    rows = {"ts": pl.Series(np.asarray(ts, np.int64)).cast(TS), "trade_id": ids, "price": price, "qty": qty}
    return pl.DataFrame({**rows, "side": pl.Series(side, dtype=pl.Int8)}).cast({"price": pl.Float64, "qty": pl.Float64})


def make_trades(n: int, seed: int = 0, start: int = MIDNIGHT, pace: float = 2.0) -> pl.DataFrame:
    """Some trades per second, at times none for minutes, often several at one time."""
    rng = np.random.default_rng(seed)
    waits = rng.exponential(pace, n) * (rng.random(n) < 0.6) + 300 * (rng.random(n) < 0.01)
    ticks = 5_000 + np.cumsum(rng.integers(-3, 4, n))
    ts = start + (np.cumsum(waits) * 1_000).astype(np.int64) * 1_000_000
    return frame_of(ts, ticks / 10, (rng.integers(1, 2_000, n) / 1_000), rng.choice([-1, 1], n))


def twin(
    trades: pl.DataFrame, interval="1m", tick=TICK, large=100_000.0, factor=3.0, level_ticks=1, start=None, until=0
):
    """The same from the definitions: a list of trades per bar, a dict of levels."""
    step = interval_ns(interval)
    rows = trades.select(pl.col("ts").to_physical(), "price", "qty", "side").rows()
    first = -(-(rows[0][0] if start is None else start) // step)
    end = max(rows[-1][0] if rows else 0, until) // step
    bars = {number: [] for number in range(first, end)}
    for row in rows:
        if row[0] // step in bars:
            bars[row[0] // step].append(row)
    table = []
    for number, inside in bars.items():
        bar = dict.fromkeys(COLUMNS, 0.0) | dict.fromkeys(("open", "high", "low", "close", "footprint_poc"), math.nan)
        levels: dict[int, list[float]] = {}
        for _, price, qty, side in inside:
            level = levels.setdefault(round(price / tick) // level_ticks, [0.0, 0.0])
            level[0 if side > 0 else 1] += qty
        if inside:
            prices, sizes = [r[1] for r in inside], [r[2] for r in inside]
            bought = [r for r in inside if r[3] == 1]
            big = [r for r in inside if r[1] * r[2] >= large]
            closing = round(prices[-1] / tick) // level_ticks
            most = max(sum(level) for level in levels.values())
            poc = min((p for p in levels if sum(levels[p]) == most), key=lambda p: (abs(p - closing), p))
            bar |= {
                "open": prices[0], "high": max(prices), "low": min(prices), "close": prices[-1],
                "volume": sum(sizes), "turnover": sum(r[1] * r[2] for r in inside), "trade_count": len(inside),
                "taker_buy_volume": sum(r[2] for r in bought), "buy_count": len(bought), "max_trade": max(sizes),
                "log_size_sum": math.fsum(math.log(q) for q in sizes),
                "log_size_square_sum": math.fsum(math.log(q) ** 2 for q in sizes),
                "large_buy_volume": sum(r[2] for r in big if r[3] == 1),
                "large_sell_volume": sum(r[2] for r in big if r[3] == -1), "large_count": len(big),
                "footprint_poc": (poc * level_ticks + (level_ticks - 1) / 2) * tick,
                "footprint_high_delta": levels[max(levels)][0] - levels[max(levels)][1],
                "footprint_low_delta": levels[min(levels)][0] - levels[min(levels)][1],
                "footprint_buy_imbalances": sum(
                    p > min(levels) and 0 < levels[p][0] >= factor * levels.get(p - 1, (0, 0))[1] for p in levels
                ),
                "footprint_sell_imbalances": sum(
                    p < max(levels) and 0 < levels[p][1] >= factor * levels.get(p + 1, (0, 0))[0] for p in levels
                ),
            }  # fmt: skip
        table.append({"ts": number * step, **bar})
    return pl.DataFrame(table, infer_schema_length=None)


def require_twin(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """To the bit where the definition is exact or adds in the order of time; logarithms and levels to rounding."""
    assert found["ts"].to_physical().to_list() == expected["ts"].to_list()
    for name in COLUMNS:
        a, b = found[name].cast(pl.Float64).to_numpy(), expected[name].cast(pl.Float64).to_numpy()
        rounded = name.startswith("log") or name == "footprint_poc"
        np.testing.assert_allclose(a, b, rtol=1e-12 if rounded else 0.0, atol=1e-9 if rounded else 0.0, err_msg=name)


def same_bits(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    return left.schema == right.schema and all(
        a.to_physical().to_numpy().tobytes() == b.to_physical().to_numpy().tobytes()
        for a, b in zip(left, right, strict=True)
    )


# ---------------------------------------------------------------------------------------------- what a bar says


def test_columns_are_those_that_features_read():
    bars = {"open", "high", "low", "close", "volume", "turnover", "trade_count", "taker_buy_volume"}
    flow = {name for name, column in INPUTS.items() if column.source.startswith("trades")}
    assert set(COLUMNS) == bars | flow
    found = trade_bars(make_trades(100), "1m", TICK)
    assert found.columns == ["ts", *COLUMNS]
    assert found.schema["ts"] == TS
    assert {name: found.schema[name] for name in COLUMNS} == {
        name: pl.Int64 if name in COUNTS else pl.Float64 for name in COLUMNS
    }
    for name in SCHEMAS["bars"]:
        assert found.schema[name] == SCHEMAS["bars"][name]


def test_a_small_bar_is_as_a_human_sees_it():
    # Level:      9.8        9.9        10.0       10.1
    # bought       .          2          3          6
    # sold         4          1          2          .
    trades = frame_of(
        MIDNIGHT + np.arange(8) * SECOND,
        [9.9, 9.8, 9.9, 10.0, 10.0, 10.1, 10.1, 10.0],
        [1.0, 4.0, 2.0, 1.0, 2.0, 4.0, 2.0, 2.0],
        [-1, -1, 1, 1, 1, 1, 1, -1],
    )
    bars = trade_bars(trades, "1m", TICK, large_quote=40.0, imbalance_factor=2.0, until=MIDNIGHT + MINUTE)
    assert bars.height == 1
    bar = bars.row(0, named=True)
    assert bar["ts"] == datetime(2024, 1, 1, tzinfo=UTC)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (9.9, 10.1, 9.8, 10.0)
    assert (bar["volume"], bar["trade_count"], bar["taker_buy_volume"], bar["buy_count"]) == (18.0, 8, 11.0, 5)
    assert bar["turnover"] == pytest.approx(9.9 * 3 + 9.8 * 4 + 10.0 * 5 + 10.1 * 6)
    assert bar["max_trade"] == 4.0
    assert (bar["large_buy_volume"], bar["large_sell_volume"], bar["large_count"]) == (4.0, 0.0, 1)  # 40.4; 39.2 is not
    assert bar["log_size_sum"] == pytest.approx(math.log(4 * 2 * 2 * 4 * 2 * 2))
    assert bar["log_size_square_sum"] == pytest.approx(math.log(2) ** 2 * (4 + 1 + 1 + 4 + 1 + 1))
    assert bar["footprint_poc"] == 10.1  # volumes 4, 3, 5, 6
    assert (bar["footprint_high_delta"], bar["footprint_low_delta"]) == (6.0, -4.0)
    # 10.1 bought 6 against 2 sold at 10.0; 10.0 bought 3 against 1; 9.9 bought 2 against 4 sold below.
    assert bar["footprint_buy_imbalances"] == 2
    # 9.8 sold 4 against 2 bought above; 9.9 sold 1 against 3; 10.0 sold 2 against 6.
    assert bar["footprint_sell_imbalances"] == 1


def test_a_trade_is_large_from_the_limit_on():
    trades = frame_of([MIDNIGHT] * 3, [10.0] * 3, [2.0, 1.9, 2.1], [1, 1, -1])
    bar = trade_bars(trades, "1m", TICK, large_quote=20.0, until=MIDNIGHT + MINUTE).row(0, named=True)
    assert (bar["large_buy_volume"], bar["large_sell_volume"], bar["large_count"]) == (2.0, 2.1, 2)


def test_of_equal_levels_the_one_nearest_to_the_close_is_the_point_of_control():
    prices = [9.8, 10.0, 9.9, 10.2, 10.1]
    for volumes, poc in (
        ([1, 1, 1, 1, 1], 10.1),
        ([2, 2, 1, 2, 1], 10.0),
        ([2, 1, 1, 2, 1], 10.2),
        ([2, 2, 2, 1, 1], 10.0),
    ):
        trades = frame_of([MIDNIGHT] * 5, prices, volumes, [1] * 5)
        assert trade_bars(trades, "1m", TICK, until=MIDNIGHT + MINUTE)["footprint_poc"].to_list() == [poc]
    # 10.0 and 10.2 are as near to 10.1: the lower one.


def test_buying_outweighs_nothing_sold_and_an_empty_level_lies_between():
    trades = frame_of([MIDNIGHT] * 4, [9.8, 10.0, 10.0, 10.1], [1.0, 2.0, 5.0, 1.0], [-1, 1, -1, 1])
    bar = trade_bars(trades, "1m", TICK, until=MIDNIGHT + MINUTE)
    assert bar["footprint_buy_imbalances"].to_list() == [1]  # 10.0 over an empty 9.9; 10.1's 1 is not 3 times 5
    assert bar["footprint_sell_imbalances"].to_list() == [2]  # 9.8 under an empty 9.9; 10.0's 5 over 10.1's 1


def test_a_bar_without_trades_has_volume_zero_and_no_price():
    trades = frame_of([MIDNIGHT, MIDNIGHT + 3 * MINUTE], [10.0, 10.1], [1.0, 2.0], [1, 1])
    found = trade_bars(trades, "1m", TICK, until=MIDNIGHT + 5 * MINUTE)
    assert found["volume"].to_list() == [1.0, 0.0, 0.0, 2.0, 0.0]
    empty = found.filter(pl.col("trade_count") == 0)
    prices = ("open", "high", "low", "close", "footprint_poc")
    assert all(empty[name].is_nan().all() for name in prices)
    assert all((empty[name] == 0).all() for name in COLUMNS if name not in prices)


@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
@pytest.mark.parametrize(("level_ticks", "factor", "large"), [(1, 3.0, 500.0), (7, 1.5, 900.0), (10, 0.1, 1e-9)])
def test_random_trades_equal_the_twin(interval, level_ticks, factor, large):
    for seed, start in ((1, MIDNIGHT), (2, MIDNIGHT + 12_345_678_901)):
        trades = make_trades(4_000, seed, start)
        found = trade_bars(trades, interval, TICK, large, factor, level_ticks)
        require_twin(found, twin(trades, interval, TICK, large, factor, level_ticks))
        assert found.height > 0
        assert interval != "1m" or (found["trade_count"] == 0).any()


@pytest.mark.parametrize(("tick", "unit"), [(1e-8, 1e-8), (0.05, 0.05), (25.0, 25.0), (1e13, 1e13), (0.1, 7.3e-4)])
def test_any_size_of_price_and_tick(tick, unit):
    ticks = 400 + np.cumsum(np.random.default_rng(0).integers(-3, 4, 500))
    trades = frame_of(
        MIDNIGHT + np.arange(500) * SECOND, np.maximum(ticks * unit, 0.6 * tick), [1.0] * 500, [1, -1] * 250
    )
    found, expected = trade_bars(trades, "1m", tick), twin(trades, "1m", tick)
    require_twin(found.drop("footprint_poc").with_columns(footprint_poc=1.0), expected.with_columns(footprint_poc=1.0))
    np.testing.assert_allclose(found["footprint_poc"], expected["footprint_poc"], rtol=1e-12)


def test_the_level_s_price_is_the_decimal_number_that_the_exchange_wrote():
    for tick, price in ((0.1, 28145.1), (0.0001, 1.9531), (0.05, 4000.15), (1e-08, 4.321e-05), (0.5, 61800.5)):
        trades = frame_of([MIDNIGHT], [price], [1.0], [1])
        assert trade_bars(trades, "1m", tick, until=MIDNIGHT + MINUTE)["footprint_poc"].to_list() == [price]
    assert tick_ratio(1 / 3) == (1 / 3, 1.0)  # no decimal number


# ---------------------------------------------------------------------------------------------- levels of a bar


def test_prices_beyond_the_levels_count_at_the_outermost_one():
    ticks = [10_000, 10_000 + LEVELS - 1, 10_000 + LEVELS, 20_000, 9_999, 1]
    trades = frame_of(
        [MIDNIGHT + k for k in range(6)], [t / 10 for t in ticks], [1, 2, 3, 4, 5, 6], [1, 1, -1, 1, 1, -1]
    )
    stream = TradeBars("1m", TICK)
    bar = stream.push(trades, until=MIDNIGHT + MINUTE).row(0, named=True)
    assert stream.clamped == 4
    assert (bar["high"], bar["low"], bar["volume"]) == (2_000.0, 0.1, 21.0)  # prices are not cut
    assert (bar["footprint_high_delta"], bar["footprint_low_delta"]) == (2.0 - 3 + 4, 1.0 + 5 - 6)
    assert bar["footprint_poc"] == 1_000.0
    after = frame_of([MIDNIGHT + MINUTE], [1.0], [1.0], [1], ["x"])  # the next bar has levels of its own
    assert stream.push(after, until=MIDNIGHT + 2 * MINUTE)["footprint_high_delta"].to_list() == [1.0]
    assert stream.clamped == 4


def test_the_levels_move_with_the_bar_in_either_direction():
    for ticks in (
        np.arange(LEVELS) + 10_000,
        10_000 - np.arange(LEVELS),
        np.concatenate([np.arange(9_000, 11_000), [7_000]]),
    ):
        n = len(ticks)
        trades = frame_of([MIDNIGHT] * n, ticks / 10, np.arange(n) / 1_000 + 0.001, [1, -1] * (n // 2) + [1] * (n % 2))
        stream = TradeBars("1m", TICK)
        require_twin(stream.push(trades, until=MIDNIGHT + MINUTE), twin(trades, until=MIDNIGHT + MINUTE))
        assert stream.clamped == 0


def test_levels_of_one_bar_are_gone_in_the_next():
    trades = make_trades(3_000, pace=0.05)
    one = trade_bars(trades, "1m", TICK)
    for k in range(1, 4):
        cut = trades.filter(pl.col("ts") >= one["ts"][k])
        assert same_bits(trade_bars(cut, "1m", TICK, start=int(one["ts"].to_physical()[k])), one[k:])


# ---------------------------------------------------------------------------------------------- real trades


def real(folder, path: str) -> pl.DataFrame:
    raw = pl.read_parquet(folder / path)
    side = pl.col("side").replace_strict({"buy": 1, "sell": -1}, return_dtype=pl.Int8)
    return raw.select(pl.col("ts").cast(TS), pl.col("trade_id").cast(pl.String), "price", "qty", side)


@pytest.mark.parametrize(
    ("path", "tick", "interval"),
    [
        ("binance/usdm/BTCUSDT/trades_20240808.parquet", 0.1, "1m"),
        ("binance/usdm/BTCUSDT/trades_20230404.parquet", 0.1, "1m"),
        ("binance/usdm/BTCUSDT/trades_20200222.parquet", 0.01, "1m"),
        ("binance/usdm/BTCUSDT/trades_20200222.parquet", 0.01, "15m"),
        ("binance/spot/BTCUSDT/trades_20240808.parquet", 0.01, "1m"),
    ],
)
def test_real_trades_equal_the_twin(market_data, path, tick, interval):
    trades = real(market_data, path)
    until = int(trades["ts"].to_physical()[-1]) + interval_ns(interval)
    for level_ticks, large in ((1, 100_000.0), (10, 5_000.0)):
        stream = TradeBars(interval, tick, large, 3.0, level_ticks)
        found = stream.push(trades, until=until)
        assert stream.repeated == 0
        if stream.clamped == 0:
            require_twin(found, twin(trades, interval, tick, large, 3.0, level_ticks, until=until))
        assert stream.clamped == 0 or level_ticks == 1
        assert large > 5_000.0 or (found["large_count"] > 0).any()


@pytest.mark.parametrize(
    ("path", "tick", "native", "interval"),
    [
        ("binance/usdm/BTCUSDT/trades_20200222.parquet", 0.01, "binance/usdm/BTCUSDT/1h.parquet", "1h"),
        ("binance/spot/BTCUSDT/trades_20240808.parquet", 0.01, "binance/spot/BTCUSDT/5m.parquet", "5m"),
    ],
)
def test_real_trades_make_the_exchange_s_own_bars(market_data, path, tick, native, interval):
    found = trade_bars(real(market_data, path), interval, tick)
    theirs = pl.read_parquet(market_data / native).cast({"ts": TS})
    joined = found.join(theirs, on="ts", suffix="_native")
    assert joined.height == found.height == 1  # the bar in which the recorder was switched on is passed over
    for name in ("open", "high", "low", "close"):
        assert joined[name].to_list() == joined[f"{name}_native"].to_list()
    assert joined["volume"][0] == pytest.approx(joined["volume_native"][0], rel=1e-12)


# ---------------------------------------------------------------------------------------------- clock


def test_a_bar_closes_when_a_trade_at_or_after_its_end_arrives_or_the_clock_has_come_to_it():
    stream = TradeBars("1m", TICK)
    row = lambda at, name: frame_of([MIDNIGHT + at], [10.0], [1.0], [1], [name])  # noqa: E731 - one line, used in this test alone
    assert stream.push(row(0, "a")).height == 0
    assert stream.push(row(MINUTE - 1, "b")).height == 0
    assert stream.push(None, until=MIDNIGHT + MINUTE - 1).height == 0
    assert stream.push(row(MINUTE, "c"))["volume"].to_list() == [2.0]
    assert stream.push(None, until=datetime(2024, 1, 1, 0, 2, tzinfo=UTC))["volume"].to_list() == [1.0]
    assert stream.push(None, until=MIDNIGHT + 2 * MINUTE + 1).height == 0
    assert stream.push(None, until=MIDNIGHT).height == 0  # the clock does not go back
    assert stream.push(row(4 * MINUTE, "d"))["volume"].to_list() == [0.0, 0.0]


def test_a_bar_that_was_entered_half_way_is_passed_over():
    trades = frame_of([MIDNIGHT + 1, MIDNIGHT + MINUTE + 5], [10.0, 10.0], [1.0, 2.0], [1, 1])
    until = MIDNIGHT + 2 * MINUTE
    assert trade_bars(trades, "1m", TICK, until=until)["volume"].to_list() == [2.0]
    assert trade_bars(trades, "1m", TICK, until=until, start=MIDNIGHT)["volume"].to_list() == [1.0, 2.0]
    assert trade_bars(trades, "1m", TICK, until=until, start=MIDNIGHT - MINUTE)["volume"].to_list() == [0.0, 1.0, 2.0]
    assert trade_bars(trades, "1m", TICK, until=until, start=MIDNIGHT + 1)["volume"].to_list() == [2.0]
    assert trade_bars(trades, "1m", TICK, until=until, start=MIDNIGHT + MINUTE + 1).height == 0
    on_time = trades.with_columns(pl.col("ts") - pl.duration(nanoseconds=1))
    assert trade_bars(on_time, "1m", TICK, until=until)["volume"].to_list() == [1.0, 2.0]


def test_the_clock_alone_closes_bars_once_the_start_is_known():
    assert TradeBars("1m", TICK).push(None, until=MIDNIGHT).height == 0
    stream = TradeBars("1m", TICK, start=MIDNIGHT)
    assert stream.push(None, until=MIDNIGHT + 2 * MINUTE)["trade_count"].to_list() == [0, 0]
    for at in (0, 5):  # in the first minute that there is
        trades = frame_of([at], [1.0], [1.0], [1])
        assert trade_bars(trades, "1m", TICK, start=0, until=MINUTE)["volume"].to_list() == [1.0]
        assert trade_bars(trades, "1m", TICK, until=MINUTE).height == (at == 0)


@given(
    cuts=st.lists(st.integers(0, 400), max_size=8), seed=st.integers(0, 99), offset=st.integers(0, MINUTE),
    clocks=st.booleans(),
)  # fmt: skip
def test_any_split_gives_the_same_bytes(cuts, seed, offset, clocks):
    trades = make_trades(400, seed, MIDNIGHT + offset)
    ts = trades["ts"].to_physical()
    whole, stream = TradeBars("1m", TICK, 500.0), TradeBars("1m", TICK, 500.0)
    expected = whole.push(trades)
    pieces = []
    for a, b in pairwise(sorted({0, 400, *cuts})):
        told = int(ts[b]) if clocks and 0 < b < 400 else None  # all before the next trade was pushed
        pieces.append(stream.push(trades[a:b], until=told))
    assert same_bits(pl.concat(pieces), expected)
    assert stream.snapshot() == whole.snapshot()


def test_one_trade_at_a_time_gives_the_same_bytes_when_the_bar_closes():
    trades = make_trades(600, pace=5.0)
    stream, expected = TradeBars("1m", TICK), trade_bars(trades, "1m", TICK)
    pieces = [stream.push(trades[i : i + 1]) for i in range(600)]
    assert same_bits(pl.concat(pieces), expected)
    minutes = (trades["ts"].to_physical() // MINUTE).to_list()
    first = -(-int(trades["ts"].to_physical()[0]) // MINUTE)
    told = [max(b, first) - max(a, first) for a, b in pairwise([minutes[0], *minutes])]
    assert [piece.height for piece in pieces] == told


def test_later_trades_change_nothing_before_them():
    trades = make_trades(500)
    whole = trade_bars(trades, "1m", TICK)
    for k in (1, 50, 499):
        known = trade_bars(trades[:k], "1m", TICK)
        assert same_bits(known, whole[: known.height])
        other = make_trades(300, 7, int(trades["ts"].to_physical()[k]))
        assert same_bits(trade_bars(pl.concat([trades[:k], other]), "1m", TICK)[: known.height], known)


@pytest.mark.parametrize("k", [0, 1, 57, 250, 400])
def test_a_snapshot_continues_as_if_nothing_had_been(k):
    trades = make_trades(400, 3, MIDNIGHT + 17)
    first = TradeBars("1m", TICK, 500.0, level_ticks=3)
    before = first.push(trades[:k])
    blob = first.snapshot()
    second = TradeBars("1m", TICK, 500.0, level_ticks=3)
    second.restore(blob)
    assert second.snapshot() == blob
    again = trades[k - 1 : k] if k else trades[:0]  # the newest trade, told once more after the restart
    after = second.push(pl.concat([again, trades[k:]]))
    assert same_bits(pl.concat([before, after]), TradeBars("1m", TICK, 500.0, level_ticks=3).push(trades))
    assert second.repeated == again.height
    assert first.snapshot() == blob


def test_a_snapshot_of_something_else_is_refused_and_changes_nothing():
    trades = make_trades(100)
    stream = TradeBars("1m", TICK)
    stream.push(trades)
    before = stream.snapshot()
    others = [
        TradeBars("5m", TICK), TradeBars("1m", 0.01), TradeBars("1m", TICK, 1.0), TradeBars("1m", TICK, level_ticks=2),
        TradeBars("1m", TICK, imbalance_factor=2.0),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(InvalidInput, match="must be a snapshot of trade bars 1"):
            stream.restore(other.snapshot())
    flipped = bytearray(before)
    flipped[len(before) // 2] ^= 1
    for blob in (b"", before[:-1], before + b"\0", bytes(flipped), before[:70], before.split(b"\n")[0] + b"\n"):
        with pytest.raises(InvalidInput, match="snapshot"):
            stream.restore(blob)
    assert stream.snapshot() == before


# ---------------------------------------------------------------------------------------------- trades told twice


def test_a_trade_told_twice_counts_once():
    trades = make_trades(200)
    rows = np.sort(np.concatenate([np.arange(200), [0, 0, 50, 199]]))
    stream = TradeBars("1m", TICK)
    assert same_bits(stream.push(trades[rows]), trade_bars(trades, "1m", TICK))
    assert stream.repeated == 4
    assert stream.push(trades[199:]).height == 0
    assert stream.repeated == 5
    stream.push(None, until=int(trades["ts"].to_physical()[-1]) + 2 * MINUTE)
    assert stream.push(trades[199:]).height == 0  # even after its bar is closed
    assert stream.repeated == 6


def test_an_id_counts_with_its_time_and_its_neighbour_alone():
    ts = [MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 2, MIDNIGHT + 2]
    trades = frame_of(ts, [1.0] * 4, [1.0] * 4, [1] * 4, ["a", "a", "b", "c"])
    assert trade_bars(trades, "1m", TICK, until=MIDNIGHT + MINUTE)["trade_count"].to_list() == [4]
    nameless = trades.with_columns(trade_id=pl.lit(None, dtype=pl.String))
    assert trade_bars(pl.concat([nameless, nameless[3:]]), "1m", TICK, until=MIDNIGHT + MINUTE)["volume"][0] == 5.0


@pytest.mark.parametrize("column", ["price", "qty", "side"])
@pytest.mark.parametrize("split", [True, False])
def test_a_trade_that_differs_from_the_one_it_repeats_is_refused(column, split):
    trades = make_trades(10)
    other = trades[9:].with_columns(pl.col(column) * (-1 if column == "side" else 2))
    stream = TradeBars("1m", TICK)
    stream.push(trades if split else trades[:1])
    before = stream.snapshot()
    with pytest.raises(
        InvalidInput, match=rf"trades.{column}\[{0 if split else 9}\] must be that of the trade before.*t9"
    ):
        stream.push(other if split else pl.concat([trades[1:], other]))
    assert stream.snapshot() == before


def test_a_refused_row_is_named_by_its_place_in_the_push():
    trades = make_trades(10)
    spoilt = pl.concat([trades[:5], trades[4:5], trades[5:9], trades[9:].with_columns(qty=0.0)])
    with pytest.raises(InvalidInput, match=r"trades.qty\[10\] must be above 0 and at most 1e150; received 0.0"):
        TradeBars("1m", TICK).push(spoilt)


# ---------------------------------------------------------------------------------------------- arrays, refusals


def columns_of(trades: pl.DataFrame) -> list[np.ndarray]:
    return [trades[c].to_physical().to_numpy() for c in ("ts", "price", "qty", "side")]


def test_arrays_and_frames_are_the_same_path():
    trades = make_trades(300)
    given = columns_of(trades)
    before = [column.tobytes() for column in given]
    opens, columns = TradeBars("1m", TICK).push_arrays(*given)  # read-only
    frame = trade_bars(trades, "1m", TICK)
    assert opens.tolist() == frame["ts"].to_physical().to_list()
    assert list(columns) == list(COLUMNS)
    for name, values in columns.items():
        assert values.tobytes() == frame[name].cast(pl.Float64).to_numpy().tobytes()
    assert [column.tobytes() for column in given] == before
    stream = TradeBars("1m", TICK)
    stream.push(trades)
    stream.push_arrays([], [], [], [])
    stream.push(trades[-1:])
    assert stream.repeated == 1
    stream.push_arrays(*columns_of(trades[-1:]))  # no ids: it counts
    stream.push(trades[-1:])
    assert stream.repeated == 1


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(SchemaMismatch, match="trades must have ts, price, qty, side of one length"):
        TradeBars("1m", TICK).push_arrays([0], [1.0, 2.0], [1.0], [1])


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("price", 0.0, "must be above 0 and at most 1e150; received 0.0"),
        ("price", -1.0, "must be above 0"),
        ("price", math.nan, "must be above 0 and at most 1e150; received nan"),
        ("price", None, "must be above 0"),
        ("price", math.inf, "must be above 0 and at most 1e150"),
        ("price", 0.04, "must be at least half a tick"),
        ("price", 1e15, "must be at least half a tick and less than 2.*52 ticks"),
        ("qty", 0.0, "must be above 0"),
        ("qty", -1.0, "must be above 0"),
        ("qty", math.nan, "must be above 0"),
        ("qty", math.inf, "must be above 0 and at most 1e150"),
        ("qty", None, "must be above 0"),
        ("side", 0, "must be 1 .the taker bought. or -1 .the taker sold.; received 0"),
        ("side", None, "must be 1"),
        ("ts", None, "must not be earlier than the trade before it"),
        ("ts", -1, "must not be earlier than the trade before it, nor in a bar that is closed; ns; received"),
    ],
)
@pytest.mark.parametrize("cold", [True, False])
def test_a_bad_row_is_named_and_nothing_of_the_push_is_taken(column, value, match, cold):
    trades = make_trades(60)
    stream = TradeBars("1m", TICK)
    if not cold:
        stream.push(trades[:20])
    before = stream.snapshot()
    good = trades[20:40]
    if column == "ts":
        changed = None if value is None else int(good["ts"].to_physical()[6]) - 10**9
        spoilt = good["ts"].to_physical().scatter(7, changed).cast(TS)
    else:
        spoilt = good[column].scatter(7, value)
    with pytest.raises(InvalidInput, match=rf"trades.{column}\[7\] {match}"):
        stream.push(good.with_columns(spoilt.alias(column)), until=MIDNIGHT + 10**6 * MINUTE)
    assert stream.snapshot() == before
    expected = TradeBars("1m", TICK)
    if not cold:
        expected.push(trades[:20])
    assert same_bits(stream.push(trades[20:]), expected.push(trades[20:]))


def test_a_trade_in_a_closed_bar_is_refused():
    stream = TradeBars("1m", TICK)
    stream.push(frame_of([MIDNIGHT], [1.0], [1.0], [1]), until=MIDNIGHT + 150 * SECOND)
    late = frame_of([MIDNIGHT + 119 * SECOND], [1.0], [1.0], [1], ["late"])
    with pytest.raises(InvalidInput, match="nor in a bar that is closed"):
        stream.push(late)
    assert stream.push(frame_of([MIDNIGHT + 120 * SECOND], [1.0], [1.0], [1], ["x"])).height == 0


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: f.drop("side"), "trades.side is required"),
        (lambda f: f.with_columns(fee=1.0), "trades.fee is not a column"),
        (lambda f: f.with_columns(pl.col("ts").to_physical()), "trades.ts must be a UTC datetime"),
        (lambda f: f.with_columns(pl.col("price").cast(pl.String)), "trades.price must be"),
        (lambda f: f.with_columns(side=pl.lit("buy")), "trades.side must be"),
    ],
)
def test_other_columns_are_refused(spoil, match):
    with pytest.raises(SchemaMismatch, match=match):
        trade_bars(spoil(make_trades(5)), "1m", TICK)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"interval": "7m"}, "interval must be one of"),
        ({"tick_size": 0.0}, "tick_size must be a finite number above 0; received 0.0"),
        ({"tick_size": math.nan}, "tick_size"),
        ({"tick_size": "0.1"}, "tick_size"),
        ({"large_quote": -1.0}, "large_quote"),
        ({"imbalance_factor": math.inf}, "imbalance_factor"),
        ({"level_ticks": 0}, r"level_ticks must be a whole number in \[1, 1000000\]; received 0"),
        ({"level_ticks": 1.5}, "level_ticks"),
        ({"level_ticks": True}, "level_ticks"),
        ({"start": datetime(2024, 1, 1)}, "start must be a UTC time"),
        ({"start": -1}, "start must be a UTC datetime or whole nanoseconds"),
        ({"start": "2024-01-01"}, "start must be a UTC datetime"),
    ],
)
def test_parameters_are_checked(change, match):
    with pytest.raises(InvalidInput, match=match):
        TradeBars(**({"interval": "1m", "tick_size": TICK} | change))


def test_times_may_be_told_in_any_zone():
    at = datetime(2024, 1, 1, 2, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
    assert epoch_time(at, "until") == MIDNIGHT + 30 * MINUTE + 123_456_000
    assert epoch_time(np.int64(5), "until") == 5


def test_a_clock_that_leaps_is_refused():
    stream = TradeBars("1m", TICK, start=MIDNIGHT)
    with pytest.raises(InvalidInput, match=f"until must not be more than {MAX_BARS} bars after the bar under way"):
        stream.push(None, until=MIDNIGHT + (MAX_BARS + 1) * MINUTE)
    with pytest.raises(InvalidInput, match="ts of the last row must not be more than"):
        stream.push(frame_of([MIDNIGHT + (MAX_BARS + 1) * MINUTE], [1.0], [1.0], [1]))
    assert stream.push(None, until=MIDNIGHT + MINUTE).height == 1


def test_the_compiled_kernel_equals_its_python_source():
    ts, price, qty, side = (np.array(column) for column in columns_of(make_trades(300)))
    results = []
    for run in (aggregate_trades, aggregate_trades.py_func):
        marks, state, out = np.zeros(MARKS, np.int64), np.zeros(STATE_SIZE), np.zeros((1 + len(COLUMNS), 60))
        closed = run(ts, price, qty, side, -1, MINUTE, 2, 1.0, 10.0, 500.0, 3.0, marks, state, out)
        results.append((closed, marks.tobytes(), state.tobytes(), out[:, :closed].tobytes()))
    assert results[0] == results[1]
    assert results[0][0] > 5


def test_the_footprint_equals_its_python_source():
    rng = np.random.default_rng(0)
    for low in (0, LEVELS - 10, 123_456):
        bought, sold = rng.integers(0, 4, LEVELS).astype(float), rng.integers(0, 4, LEVELS).astype(float)
        found, plain = np.empty(5), np.empty(5)
        read_footprint(low, low + 200, low + 50, 2.0, bought, sold, found)
        read_footprint.py_func(low, low + 200, low + 50, 2.0, bought, sold, plain)
        assert found.tolist() == plain.tolist()


LOSSY = [
    ("side", np.array([257, 1])),
    ("side", np.array([1.9, 1.0])),
    ("ts", np.array(["2024-01-01", "2024-01-02"], "M8[us]")),
    ("ts", np.array([0.5, 1.0])),
    ("ts", np.array([np.nan, 1.0])),
    ("price", ["a", "b"]),
    ("qty", [[1.0], [1.0, 2.0]]),
]


@pytest.mark.parametrize(("column", "values"), LOSSY)
def test_arrays_that_would_lose_something_are_refused(column, values):
    given = {"ts": np.array([1, 2]), "price": np.ones(2), "qty": np.ones(2), "side": np.ones(2, np.int8)} | {
        column: values
    }
    bars = TradeBars("1m", 0.1)
    before = bars.snapshot()
    with pytest.raises(SchemaMismatch, match=rf"trades\.{column}"):
        bars.push_arrays(**given)
    assert bars.snapshot() == before


def test_trades_without_an_id_are_never_taken_for_repeated():
    second = 10**9
    frame = pl.DataFrame(
        {"ts": pl.Series([second] * 3).cast(TS), "trade_id": ["", "", "a"], "price": 9.0, "qty": 1.0,
         "side": pl.Series([1, 1, 1], dtype=pl.Int8)}
    )  # fmt: skip
    whole = trade_bars(frame, "1m", 0.1, start=0, until=60 * second)
    parts = TradeBars("1m", 0.1, start=0)
    for i in range(3):
        parts.push(frame[i : i + 1])
    split = parts.push(None, until=60 * second)
    assert whole["volume"].to_list() == split["volume"].to_list() == [3.0]
