"""Bars from liquidations against plain Python, and the laws of a resumable kernel."""

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.features.inputs import INPUTS
from research.market.bars import TS, interval_ns
from research.market.liquidation_bars import (
    COLUMNS,
    LIQUIDATIONS,
    LiquidationBars,
    aggregate_liquidations,
    liquidation_bars,
)

MIDNIGHT = 1_704_067_200 * 10**9  # 2024-01-01T00:00Z
SECOND = 10**9
MINUTE = 60 * SECOND


def make_rows(n: int, seed: int = 0, start: int = MIDNIGHT + 5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ts = start + (np.cumsum(rng.exponential(40, n) * (rng.random(n) < 0.5)) * 1_000).astype(np.int64) * 1_000_000
    columns = {"side": rng.choice([-1, 1], n), "price": rng.uniform(1, 2, n), "qty": rng.integers(1, 999, n) / 10}
    return pl.DataFrame({"ts": pl.Series(ts).cast(TS), **columns}).cast({"side": pl.Int8})


def twin(rows: pl.DataFrame, interval: str, start: int | None = None, until: int = 0) -> list[tuple]:
    step = interval_ns(interval)
    told = rows.select(pl.col("ts").to_physical(), "side", "qty").rows()
    first = -(-(told[0][0] if start is None else start) // step)
    sums = {number: {-1: 0.0, 1: 0.0} for number in range(first, max(told[-1][0], until) // step)}
    for ts, side, qty in told:
        if ts // step in sums:
            sums[ts // step][side] += qty
    return [(number * step, volumes[-1], volumes[1]) for number, volumes in sums.items()]


def rows_of(bars: pl.DataFrame) -> list[tuple]:
    return bars.with_columns(pl.col("ts").to_physical()).rows()


def test_columns_are_those_that_features_read():
    assert set(COLUMNS) == {name for name, column in INPUTS.items() if column.source.startswith("liquidations")}
    assert liquidation_bars(make_rows(10), "1m").schema == pl.Schema({"ts": TS, **dict.fromkeys(COLUMNS, pl.Float64)})


@pytest.mark.parametrize("interval", ["1m", "5m", "1h"])
def test_random_liquidations_equal_the_twin(interval):
    for seed in range(3):
        rows = make_rows(500, seed)
        until = int(rows["ts"].to_physical()[-1]) + 2 * interval_ns(interval)
        for start in (None, MIDNIGHT, MIDNIGHT - 7 * MINUTE):
            found = rows_of(liquidation_bars(rows, interval, start, until))
            assert found == twin(rows, interval, start, until)
            assert interval != "1m" or (0.0, 0.0) in [row[1:] for row in found]


@pytest.mark.parametrize("symbol", ["ACHUSDT", "SPELLUSDT", "JUPUSDT"])
def test_real_liquidations_equal_the_twin(market_data, symbol):
    raw = pl.read_parquet(market_data / "binance/usdm/_liquidations/2025-01_02.parquet").filter(symbol=symbol)
    side = pl.col("side").replace_strict({"buy": 1, "sell": -1}, return_dtype=pl.Int8)  # of the order
    rows = raw.select(pl.col("ts").cast(TS), side, "price", "qty")
    ts = rows["ts"].to_physical()
    start, until = int(ts[0]) // MINUTE * MINUTE, int(ts[-1]) + MINUTE
    found = liquidation_bars(rows, "1m", start, until)
    assert rows_of(found) == twin(rows, "1m", start, until)
    assert found["long_liquidation_volume"].sum() == pytest.approx(rows.filter(side=-1)["qty"].sum())
    assert found["short_liquidation_volume"].sum() == pytest.approx(rows.filter(side=1)["qty"].sum())


def test_a_bar_closes_when_a_row_at_or_after_its_end_arrives_or_the_clock_has_come_to_it():
    stream = LiquidationBars("1m", start=MIDNIGHT)
    assert stream.push(None, until=MIDNIGHT + MINUTE)[COLUMNS[0]].to_list() == [0.0]
    assert stream.push_arrays([MIDNIGHT + MINUTE], [-1], [1.0], [2.0])[0].size == 0
    assert stream.push(None, until=MIDNIGHT + 2 * MINUTE - 1).height == 0
    opens, columns = stream.push_arrays([MIDNIGHT + 3 * MINUTE], [1], [1.0], [5.0])
    assert opens.tolist() == [MIDNIGHT + MINUTE, MIDNIGHT + 2 * MINUTE]
    assert [values.tolist() for values in columns.values()] == [[2.0, 0.0], [0.0, 0.0]]
    assert LiquidationBars("1m").push(None, until=MIDNIGHT).height == 0


@given(cuts=st.lists(st.integers(0, 200), max_size=6), seed=st.integers(0, 99), clocks=st.booleans())
def test_any_split_gives_the_same_bytes(cuts, seed, clocks):
    rows = make_rows(200, seed)
    ts = rows["ts"].to_physical()
    whole, stream = LiquidationBars("1m"), LiquidationBars("1m")
    expected, pieces = whole.push(rows), []
    for a, b in pairwise(sorted({0, 200, *cuts})):
        pieces.append(stream.push(rows[a:b], until=int(ts[b]) if clocks and 0 < b < 200 else None))
    assert rows_of(pl.concat(pieces)) == rows_of(expected)
    assert stream.snapshot() == whole.snapshot()


def test_a_snapshot_continues_as_if_nothing_had_been():
    rows = make_rows(200)
    for k in (0, 1, 99, 200):
        first, second = LiquidationBars("1m"), LiquidationBars("1m")
        before = first.push(rows[:k])
        second.restore(first.snapshot())
        assert second.snapshot() == first.snapshot()
        assert rows_of(pl.concat([before, second.push(rows[k:])])) == rows_of(liquidation_bars(rows, "1m"))


def test_a_snapshot_of_something_else_is_refused_and_changes_nothing():
    stream = LiquidationBars("1m")
    stream.push(make_rows(50))
    before = stream.snapshot()
    for blob in (LiquidationBars("5m").snapshot(), b"", before[:-1], before[:-1] + b"\1", before + b"\0"):
        with pytest.raises(InvalidInput, match="snapshot must be"):
            stream.restore(blob)
    assert stream.snapshot() == before


def test_the_compiled_kernel_equals_its_python_source():
    rows = make_rows(100)
    given_ = [np.array(rows[name].to_physical().to_numpy()) for name in ("ts", "side", "qty")]
    results = []
    for run in (aggregate_liquidations, aggregate_liquidations.py_func):
        marks, state, out = np.zeros(3, np.int64), np.zeros(2), np.zeros((3, 100))
        closed = run(*given_, -1, MINUTE, marks, state, out)
        results.append((closed, marks.tobytes(), state.tobytes(), out[:, :closed].tobytes()))
    assert results[0] == results[1]
    assert results[0][0] > 10


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ("side", 0, "must be -1 .a long was sold. or 1"),
        ("side", None, "must be -1"),
        ("price", 0.0, "must be above 0 and at most 1e150; received 0.0"),
        ("price", None, "must be above 0"),
        ("qty", 0.0, "must be above 0"),
        ("qty", math.nan, "must be above 0"),
        ("qty", math.inf, "must be above 0"),
        ("ts", None, "must not be earlier than the liquidation before it"),
        ("ts", -1, "must not be earlier than the liquidation before it, nor in a bar that is closed; ns; received"),
    ],
)
def test_a_bad_row_is_named_and_nothing_of_the_push_is_taken(column, value, match):
    rows = make_rows(60)
    stream = LiquidationBars("1m")
    stream.push(rows[:20])
    before = stream.snapshot()
    good = rows[20:40]
    if column == "ts":
        changed = None if value is None else int(good["ts"].to_physical()[6]) - 1
        spoilt = good["ts"].to_physical().scatter(7, changed).cast(TS)
    else:
        spoilt = good[column].scatter(7, value)
    with pytest.raises(InvalidInput, match=rf"liquidations.{column}\[7\] {match}"):
        stream.push(good.with_columns(spoilt.alias(column)), until=MIDNIGHT + 10**5 * MINUTE)
    assert stream.snapshot() == before


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: f.drop("price"), "must have the columns ts, side, price, qty"),
        (lambda f: f.with_columns(symbol=pl.lit("X")), "must have the columns"),
        (lambda f: f.with_columns(pl.col("ts").to_physical()), "liquidations.ts must be a UTC datetime"),
        (lambda f: f.with_columns(side=pl.lit("Buy")), "liquidations.side must be Int8"),
        (lambda f: f.with_columns(pl.col("side").cast(pl.Float64)), "liquidations.side must be Int8"),
        (lambda f: f.with_columns(qty=pl.lit("1")), "liquidations.qty must be Float64"),
    ],
)
def test_other_columns_are_refused(spoil, match):
    with pytest.raises(SchemaMismatch, match=match):
        liquidation_bars(spoil(make_rows(5)), "1m")
    assert list(LIQUIDATIONS) == make_rows(1).columns


def test_columns_may_come_in_any_order_and_as_whole_numbers():
    rows = make_rows(50).with_columns(pl.col("qty").ceil(), pl.col("price").ceil())
    whole = rows.select(
        pl.col("qty").cast(pl.Int64), pl.col("side").cast(pl.Int64), "ts", pl.col("price").cast(pl.Int32)
    )
    assert rows_of(liquidation_bars(whole, "1m")) == rows_of(liquidation_bars(rows, "1m"))
