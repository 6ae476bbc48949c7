"""The table of all that was known at the close of each bar."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.features import Assembler, FeatureSet, assemble
from research.market import on_clock
from research.market.bars import TS

MINUTE_NS = 60_000_000_000
ONE = pl.Series("value", [1.0])
START = 1_700_000_100_000_000_000 // (5 * MINUTE_NS) * 5 * MINUTE_NS


def times(*minutes: float) -> pl.Series:
    return pl.Series("ts", [START + int(m * MINUTE_NS) for m in minutes]).cast(TS)


def bars_of(n: int, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    return pl.DataFrame(
        [times(*range(0, 5 * n, 5)), *(pl.Series(c, close) for c in ("open", "high", "low", "close")),
         pl.Series("volume", rng.lognormal(1.0, 1.0, n)), pl.Series("taker_buy_volume", [None] * n, dtype=pl.Float64)]
    )  # fmt: skip


def sources_of(n: int) -> dict:
    rng = np.random.default_rng(9)
    at = np.sort(rng.uniform(-60, 5 * n, 40))
    late = at + rng.exponential(20.0, 40)
    return {
        "prices": {"mark": bars_of(n, 2).filter(pl.int_range(pl.len()) % 7 != 3)},
        "symbols": {"BTCUSDT": bars_of(n, 3)},
        "flows": {"trades": pl.DataFrame([times(*range(0, 5 * n, 5)), pl.Series("taker_buy_volume", rng.random(n)),
                                          pl.Series("large_count", rng.random(n))])},
        "funding": pl.DataFrame([times(-30, 40, 280), pl.Series("rate", [1e-4, -2e-4, 3e-4]),
                                 pl.Series("interval_hours", [8.0, 4.0, 4.0])]),
        "open_interest": pl.DataFrame([times(*at), times(*late).alias("available_ts"),
                                       pl.Series("open_interest", rng.random(40))]),
        "series": {"dxy": pl.DataFrame([times(*late[::4]).alias("available_ts"), pl.Series("value", rng.random(10))])},
    }  # fmt: skip


def bytes_of(frame: pl.DataFrame) -> bytes:
    return b"".join(frame[name].to_physical().to_numpy().tobytes() for name in frame.columns)


def test_each_bar_sees_the_newest_row_that_was_available_at_its_close():
    n, sources = 120, sources_of(120)
    table = assemble(bars_of(n), "5m", **sources)
    closes = START + np.arange(1, n + 1) * 5 * MINUTE_NS
    rows = sources["open_interest"]
    available, event = (rows[c].to_physical().to_numpy() for c in ("available_ts", "ts"))
    for i, close in enumerate(closes):
        known = np.flatnonzero(available <= close)
        if known.size == 0:
            assert np.isnan(table["open_interest"][i])
            continue
        newest = max(known, key=lambda j: (event[j], available[j]))
        assert table["open_interest"][i] == rows["open_interest"][int(newest)]
    rates = sources["funding"]
    settled = rates["ts"].to_physical().to_numpy()
    for i, close in enumerate(closes):
        newest = int(np.flatnonzero(settled <= close)[-1])
        assert table["funding_rate"][i] == rates["rate"][newest]
        assert table["funding_interval"][i] == rates["interval_hours"][newest]
        assert table["funding_age"][i] == (close - settled[newest]) / MINUTE_NS
    assert table["dxy.age"].drop_nans().min() >= 0.0


def test_a_settlement_counts_from_the_close_at_which_it_is_known():
    funding = pl.DataFrame([times(10), pl.Series("rate", [1e-4]), pl.Series("interval_hours", [8.0])])
    table = assemble(bars_of(4), "5m", funding=funding)
    # The bar from minute 5 to 10 closes as the settlement happens; the one from 0 to 5 did not know it.
    np.testing.assert_array_equal(table["funding_rate"].to_numpy(), [np.nan, 1e-4, 1e-4, 1e-4])
    np.testing.assert_array_equal(table["funding_age"].to_numpy(), [np.nan, 0.0, 5.0, 10.0])


def test_an_absent_bar_elsewhere_is_nan_and_not_the_one_before():
    sources = sources_of(40)
    table = assemble(bars_of(40), "5m", prices=sources["prices"])
    absent = np.arange(40) % 7 == 3
    np.testing.assert_array_equal(np.isnan(table["mark"].to_numpy()), absent)
    np.testing.assert_array_equal(table["mark"].to_numpy()[~absent], bars_of(40, 2)["close"].to_numpy()[~absent])


def test_trades_fill_what_the_bars_leave_open_and_no_more():
    sources, bars = sources_of(40), bars_of(40).with_columns(taker_buy_volume=pl.Series([2.5] * 20 + [None] * 20))
    table = assemble(bars, "5m", flows=sources["flows"])
    assert table["taker_buy_volume"].to_list()[:20] == [2.5] * 20
    assert table["taker_buy_volume"][20:].equals(sources["flows"]["trades"]["taker_buy_volume"][20:])
    assert table["large_count"].equals(sources["flows"]["trades"]["large_count"])


def test_a_row_too_old_no_longer_counts():
    frame = pl.DataFrame([times(0).alias("available_ts"), pl.Series("value", [3.0])])
    table = assemble(bars_of(6), "5m", {"dxy": "15m"}, series={"dxy": frame})
    np.testing.assert_array_equal(table["dxy"].to_numpy(), [3.0, 3.0, 3.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(table["dxy.age"].to_numpy(), [5.0, 10.0, 15.0, np.nan, np.nan, np.nan])


def upto(frame: pl.DataFrame, first: int, last: int, column: str) -> pl.DataFrame:
    """Return the rows that became known after the close of bar first - 1 and until that of last - 1."""
    after, until = START + first * 5 * MINUTE_NS, START + last * 5 * MINUTE_NS
    at = frame[column].to_physical()
    return frame.filter((at <= until) & ((at > after) | (first == 0)))


@given(cuts=st.sets(st.integers(1, 119), max_size=6))
@settings(max_examples=25, deadline=None)
def test_any_split_gives_the_same_table_as_rows_arrive(cuts):
    n, sources, bars = 120, sources_of(120), bars_of(120)
    whole = assemble(bars, "5m", **sources)
    assembler, parts = Assembler("5m"), []
    for a, b in pairwise([0, *sorted(cuts), n]):
        resumed = Assembler("5m")
        resumed.restore(assembler.snapshot())
        assembler = resumed
        parts.append(
            assembler.push(
                bars[a:b],
                prices={k: v.join(bars[a:b].select("ts"), on="ts", how="semi") for k, v in sources["prices"].items()},
                symbols={k: v[a:b] for k, v in sources["symbols"].items()},
                flows={k: v[a:b] for k, v in sources["flows"].items()},
                funding=upto(sources["funding"], a, b, "ts"),
                open_interest=upto(sources["open_interest"], a, b, "available_ts"),
                series={k: upto(v, a, b, "available_ts") for k, v in sources["series"].items()},
            )
        )
    joined = pl.concat(parts).select(whole.columns)
    assert bytes_of(joined) == bytes_of(whole)


def test_features_of_the_table():
    table = assemble(bars_of(120), "5m", **sources_of(120))
    features = FeatureSet({"z": {"feature": "zscore", "of": "open_interest", "length": 5},
                           "btc": {"feature": "rsi", "symbol": "BTCUSDT"}}, "5m")  # fmt: skip
    assert features.batch(table)["btc"].is_not_nan().sum() == 120 - 14


@pytest.mark.parametrize(
    ("error", "message", "sources"),
    [
        (InvalidInput, "prices must be named mark", {"prices": {"marks": bars_of(3)}}),
        (SchemaMismatch, r"prices.mark.close is required", {"prices": {"mark": bars_of(3).drop("close")}}),
        (MisalignedBars, r"symbols.X.ts must increase", {"symbols": {"X": pl.concat([bars_of(3), bars_of(3)])}}),
        (SchemaMismatch, r"funding.rate is required", {"funding": pl.DataFrame([times(0)])}),
        (SchemaMismatch, r"series.x.available_ts is required", {"series": {"x": pl.DataFrame({"value": [1.0]})}}),
        (
            InvalidInput,
            "column 'mark' must come from one source",
            {"prices": {"mark": bars_of(3)}, "series": {"mark": pl.DataFrame([times(0).alias("available_ts"), ONE])}},
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_taken(error, message, sources):
    assembler = Assembler("5m")
    assembler.push(bars_of(2))
    before = assembler.snapshot()
    with pytest.raises(error, match=message):
        assembler.push(bars_of(3)[2:], **sources)
    assert assembler.snapshot() == before
    assembler.push(bars_of(3)[2:])


def test_bars_off_the_clock_and_foreign_snapshots_are_refused():
    assembler = Assembler("5m")
    assembler.push(bars_of(2))
    with pytest.raises(MisalignedBars, match="one 5m after the bar before"):
        assembler.push(bars_of(4)[3:])
    holed = bars_of(6).filter(pl.int_range(pl.len()) != 3)
    with pytest.raises(MisalignedBars, match="on_clock"):
        Assembler("5m").push(holed)
    assert Assembler("5m").push(on_clock(holed, "5m")).height == 6
    for blob in (b"", b"nonsense", assembler.snapshot()[:-3], assembler.snapshot() + b"x"):
        with pytest.raises(InvalidInput, match="snapshot"):
            assembler.restore(blob)
    with pytest.raises(InvalidInput, match="snapshot must be one of an assembler of 1m bars"):
        Assembler("1m").restore(assembler.snapshot())


def test_bars_of_another_interval_are_refused():
    # An hour's bar joined by its open time would tell in its first five minutes what the hour's close was.
    five, hours, minutes = bars_of(240), bars_of(20), bars_of(1_200)
    hourly = hours.with_columns(
        pl.Series(START // (60 * MINUTE_NS) * 60 * MINUTE_NS + np.arange(20) * 60 * MINUTE_NS).cast(TS).alias("ts")
    )
    by_minute = minutes.with_columns(pl.Series(START + np.arange(1_200) * MINUTE_NS).cast(TS).alias("ts"))
    for sources in ({"symbols": {"BTCUSDT": hourly}}, {"prices": {"spot": hourly}}, {"flows": {"x": hourly}}):
        with pytest.raises(MisalignedBars, match="must be bars of 5 minutes"):
            assemble(five, "5m", **sources)
    with pytest.raises(MisalignedBars, match=r"must be bars of 5 minutes .*resample"):
        assemble(five, "5m", symbols={"BTCUSDT": by_minute})
    sparse = bars_of(240).filter(pl.int_range(pl.len()).is_in([0, 2, 4, 7, 9, 12, 14, 20, 22, 24, 26, 28]))
    assert assemble(five, "5m", symbols={"BTCUSDT": sparse})["BTCUSDT.close"].is_not_nan().sum() == sparse.height


def test_a_late_correction_of_an_older_row_does_not_replace_a_newer_one():
    rows = pl.DataFrame(
        [times(0, 10, 5), times(1, 11, 22).alias("available_ts"), pl.Series("open_interest", [100.0, 110.0, 105.0])]
    )
    table = assemble(bars_of(6), "5m", open_interest=rows)
    np.testing.assert_array_equal(table["open_interest"].to_numpy(), [100.0, 100.0, 110.0, 110.0, 110.0, 110.0])
    corrected = pl.DataFrame(
        [times(0, 0), times(1, 12).alias("available_ts"), pl.Series("open_interest", [100.0, 101.0])]
    )
    table = assemble(bars_of(4), "5m", open_interest=corrected)
    np.testing.assert_array_equal(table["open_interest"].to_numpy(), [100.0, 100.0, 101.0, 101.0])


def test_the_same_rows_pushed_again_are_remembered_once():
    funding = pl.DataFrame(
        [times(*range(0, 2_000, 5)), pl.Series("rate", [1e-4] * 400), pl.Series("interval_hours", [8.0] * 400)]
    )
    assembler, bars, sizes = Assembler("5m"), bars_of(60), []
    for i in range(60):
        assembler.push(bars[i : i + 1], funding=funding)
        sizes.append(len(assembler.snapshot()))
    assert max(sizes) == sizes[0]


def test_columns_of_other_depths_are_kept_and_can_be_read():
    book = pl.DataFrame(
        [
            times(*range(0, 50, 5)),
            pl.Series("bid_depth_50", np.arange(10.0)),
            pl.Series("ask_depth_50", np.arange(10.0) + 1),
        ]
    )
    table = assemble(bars_of(10), "5m", flows={"book": book})
    depth = FeatureSet({"deep": {"feature": "difference", "of": "bid_depth_50"}}, "5m").batch(table)
    np.testing.assert_array_equal(depth["deep"].to_numpy()[1:], np.ones(9))


NAIVE = bars_of(3).with_columns(pl.col("ts").dt.replace_time_zone(None))


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (SchemaMismatch, "bars must be a polars DataFrame", {"bars": None}),
        (SchemaMismatch, r"bars.ts must be a UTC datetime", {"bars": bars_of(3).drop("ts")}),
        (SchemaMismatch, r"bars.ts must be a UTC datetime", {"bars": NAIVE}),
        (SchemaMismatch, r"symbols.B.ts must be a UTC", {"symbols": {"B": NAIVE}}),
        (InvalidInput, "symbols must be a mapping", {"symbols": [bars_of(3)]}),
        (InvalidInput, r"symbols.B must be a polars DataFrame", {"symbols": {"B": None}}),
        (InvalidInput, "future_expiry_ns must be a time", {"future_expiry_ns": "x"}),
        (InvalidInput, "future_expiry_ns must be a time", {"future_expiry_ns": True}),
        (InvalidInput, r"max_age.fundng must name a source", {"max_age": {"fundng": "8h"}}),
        (InvalidInput, r"max_age.funding must be one of", {"max_age": {"funding": ["8h"]}}),
        (InvalidInput, "interval must be one of", {"interval": ["5m"]}),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_in_words(error, message, arguments):
    given = {"bars": bars_of(3), "interval": "5m", "max_age": None} | arguments
    with pytest.raises(error, match=message):
        assemble(given.pop("bars"), given.pop("interval"), given.pop("max_age"), **given)


def test_a_snapshot_of_another_age_limit_is_refused():
    strict = Assembler("5m", {"funding": "8h"})
    strict.push(bars_of(2))
    with pytest.raises(InvalidInput, match="max_age"):
        Assembler("5m").restore(strict.snapshot())
