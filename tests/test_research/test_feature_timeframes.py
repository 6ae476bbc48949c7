"""Entries on longer timeframes, on other symbols, and on each other."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars
from research.features import FeatureSet
from research.kernel import UNBOUNDED
from research.market import blocks_on_clock, on_clock, resample
from research.market.bars import TS

MINUTE_NS = 60_000_000_000
MIXED = {
    "rsi": {"length": 5},
    "rsi_3m": {"feature": "rsi", "length": 5, "timeframe": "3m"},
    "rsi_3m_z": {"feature": "zscore", "length": 4, "of": "rsi_3m", "timeframe": "3m"},
    "slow": {"feature": "macd", "fast": 2, "slow": 4, "signal": 2, "timeframe": "15m"},
    "btc": {"feature": "log_return", "length": 2, "symbol": "BTCUSDT"},
    "btc_5m": {"feature": "atr", "length": 3, "symbol": "BTCUSDT", "timeframe": "5m"},
    "rsi_z": {"feature": "zscore", "length": 6, "of": "rsi"},
    "held_z": {"feature": "zscore", "length": 6, "of": "slow.line"},
    "vwap": {"feature": "session_vwap", "timeframe": "15m"},
    "flow_z": {"feature": "zscore", "length": 3, "of": "volume", "timeframe": "5m"},
}


def bars_of(n: int, start: int = 0, seed: int = 3) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {"ts": pl.Series((start + np.arange(n)) * MINUTE_NS).cast(TS)}
    for prefix, level in (("", 20.0), ("BTCUSDT.", 30_000.0)):
        close = level * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
        before, reach = np.concatenate([close[:1], close[:-1]]), np.abs(rng.normal(0.0, 1e-3, n))
        columns |= {
            f"{prefix}open": before, f"{prefix}high": np.maximum(close, before) * (1 + reach),
            f"{prefix}low": np.minimum(close, before) * (1 - reach), f"{prefix}close": close,
            f"{prefix}volume": rng.lognormal(1.0, 1.0, n),
        }  # fmt: skip
    return pl.DataFrame(columns)


def holed(bars: pl.DataFrame, *gone: int) -> pl.DataFrame:
    absent = pl.int_range(pl.len()).is_in(gone)
    return bars.with_columns(pl.when(absent).then(float("nan")).otherwise(pl.col(pl.Float64)).name.keep())


def bytes_of(frame: pl.DataFrame) -> bytes:
    return b"".join(frame[name].to_physical().to_numpy().tobytes() for name in frame.columns)


@pytest.mark.parametrize("start", [0, 7, 14], ids=["on a boundary", "within a bar", "before a boundary"])
def test_a_longer_timeframe_is_the_feature_of_resampled_bars_from_their_close_on(start):
    bars = holed(bars_of(400, start), 30, 31, 100, *range(180, 200))
    columns = FeatureSet({"slow": {"feature": "macd", "timeframe": "15m", "fast": 2, "slow": 4, "signal": 2}}, "1m")
    ours = columns.batch(bars)
    longer = resample(bars.select("ts", "open", "high", "low", "close", "volume"), "1m", "15m")
    theirs = FeatureSet({"slow": {"feature": "macd", "fast": 2, "slow": 4, "signal": 2}}).batch(longer)
    # A bar of 15 minutes that opens at t is known with the minute that opens at t + 14 minutes.
    known = theirs.with_columns((pl.col("ts") + pl.duration(minutes=14)).cast(TS))
    expected = ours.select("ts").join_asof(known, on="ts", strategy="backward")
    assert bytes_of(ours) == bytes_of(expected.with_columns(pl.col(pl.Float64).fill_null(float("nan"))))
    assert ours["slow.line"].is_not_nan().sum() > 300


def test_every_column_is_merged_by_its_own_rule():
    bars = bars_of(60)
    bars = bars.with_columns(
        open_interest=pl.col("volume"), funding_rate=pl.col("close") - 20.0, max_trade=pl.col("volume"),
        bid_price=pl.col("close"), dxy=pl.col("close") * 3.0,
    )  # fmt: skip
    last_of_five = np.arange(4, 60, 5)
    for name, merged in {
        "open": np.array([block[0] for block in bars["open"].to_numpy().reshape(-1, 5)]),
        "high": bars["high"].to_numpy().reshape(-1, 5).max(axis=1),
        "low": bars["low"].to_numpy().reshape(-1, 5).min(axis=1),
        "close": bars["close"].to_numpy()[4::5],
        "volume": bars["volume"].to_numpy().reshape(-1, 5).sum(axis=1),
        "open_interest": bars["open_interest"].to_numpy()[4::5],
        "funding_rate": bars["funding_rate"].to_numpy()[4::5],
        "max_trade": bars["max_trade"].to_numpy().reshape(-1, 5).max(axis=1),
        "BTCUSDT.high": bars["BTCUSDT.high"].to_numpy().reshape(-1, 5).max(axis=1),
    }.items():
        table = FeatureSet({"x": {"feature": "lag", "length": 1, "of": name, "timeframe": "5m"}}, "1m").batch(bars)
        np.testing.assert_allclose(table["x"].to_numpy()[last_of_five[1:]], merged[:-1], rtol=1e-15, err_msg=name)


def test_a_longer_bar_is_not_known_before_it_closes():
    features, bars = FeatureSet(MIXED, "1m"), bars_of(200)
    whole = features.batch(bars)
    for k in (29, 30, 44, 45, 59, 100, 104, 105, 106):
        changed = bars.with_columns(
            pl.when(pl.int_range(pl.len()) >= k)
            .then(pl.col(pl.Float64) * 1.3)
            .otherwise(pl.col(pl.Float64))
            .name.keep()
        )
        assert bytes_of(features.batch(changed)[:k]) == bytes_of(whole[:k])


@pytest.mark.parametrize("told", ["1m", None])
@given(cuts=st.sets(st.integers(0, 300), max_size=8), start=st.integers(0, 30), threads=st.sampled_from([1, 2]))
@settings(max_examples=30, deadline=None)
def test_a_stream_is_the_batch(told, cuts, start, threads):
    features, bars = FeatureSet(MIXED, told), holed(bars_of(300, start), 17, 18, 90)
    stream = features.stream()
    parts = pl.concat([stream.push(bars[a:b], threads) for a, b in pairwise([0, *sorted(cuts), 300])])
    assert bytes_of(parts) == bytes_of(features.batch(bars))


@pytest.mark.parametrize("told", ["1m", None])
def test_one_bar_at_a_time_with_snapshots_between_is_the_batch(told):
    features, bars = FeatureSet(MIXED, told), bars_of(200, 5)
    stream, parts = features.stream(), []
    for i in range(200):
        resumed = features.stream()
        resumed.restore(stream.snapshot())
        stream = resumed
        parts.append(stream.push(bars[i : i + 1]))
    assert bytes_of(pl.concat(parts)) == bytes_of(features.batch(bars))


def test_the_bars_own_timeframe_may_be_named():
    bars = bars_of(50)
    plain = FeatureSet({"rsi": {"length": 5}}).batch(bars)["rsi"]
    told = FeatureSet({"rsi": {"length": 5, "timeframe": "1m"}}, "1m").batch(bars)["rsi"]
    learnt = FeatureSet({"rsi": {"length": 5, "timeframe": "1m"}}).batch(bars)["rsi"]
    assert plain.equals(told)
    assert plain.equals(learnt)
    # Where the interval is learnt, a column of a named timeframe cannot begin before the second bar.
    instant = FeatureSet({"sma": {"length": 1, "timeframe": "1m"}})
    assert np.isnan(instant.batch(bars)["sma"][0])
    one_by_one = instant.stream()
    parts = pl.concat([one_by_one.push(bars[i : i + 1]) for i in range(50)])
    assert bytes_of(parts) == bytes_of(instant.batch(bars))
    assert FeatureSet({"sma": {"length": 1, "timeframe": "1m"}}, "1m").batch(bars)["sma"][0] == bars["close"][0]
    # The set's own timeframe is none: an entry that names it may read one that does not, and the reverse.
    both = {"rsi": {"length": 5, "timeframe": "1m"}, "z": {"feature": "zscore", "of": "rsi"}}
    mirror = {"rsi": {"length": 5}, "z": {"feature": "zscore", "of": "rsi", "timeframe": "1m"}}
    assert FeatureSet(both, "1m").fingerprint == FeatureSet(mirror, "1m").fingerprint


def test_bars_of_another_interval_are_refused():
    bars = bars_of(90)
    five = resample(bars.select("ts", "open", "high", "low", "close"), "1m", "5m")
    told = FeatureSet({"rsi": {"length": 5}}, "1m")
    with pytest.raises(MisalignedBars, match="must be 60000000000 ns after"):
        told.batch(five)
    with pytest.raises(InvalidInput, match=r"rsi\.timeframe must be a multiple of the interval of the bars"):
        FeatureSet({"rsi": {"timeframe": "3m"}}).batch(five)
    off_grid = bars.with_columns(pl.col("ts") + pl.duration(seconds=7))
    with pytest.raises(MisalignedBars, match="must be a multiple of 60000000000"):
        FeatureSet({"rsi": {"timeframe": "5m"}}).batch(off_grid)


def test_a_refused_push_consumes_nothing():
    features, bars = FeatureSet(MIXED, "1m"), bars_of(60)
    stream = features.stream()
    stream.push(bars[:33])
    before = stream.snapshot()
    for chunk in (bars[32:], bars[34:], bars[33:].drop("BTCUSDT.high")):
        with pytest.raises((MisalignedBars, InvalidInput, Exception), match=r"bars\."):
            stream.push(chunk)
    assert stream.snapshot() == before
    fresh = FeatureSet({"rsi": {"length": 3, "timeframe": "3m"}}).stream()
    cold = fresh.snapshot()
    with pytest.raises(InvalidInput, match="multiple of the interval"):
        fresh.push(resample(bars.select("ts", "open", "high", "low", "close"), "1m", "5m"))
    assert fresh.snapshot() == cold


def test_a_transform_of_a_feature_is_the_transform_of_its_column():
    bars = bars_of(300)
    table = FeatureSet(MIXED, "1m").batch(bars)
    column = bars.select("ts").with_columns(close=table["rsi"])
    assert FeatureSet({"zscore": {"length": 6}}).batch(column)["zscore"].equals(table["rsi_z"], null_equal=True)
    held = bars.select("ts").with_columns(close=table["slow.line"])
    assert FeatureSet({"zscore": {"length": 6}}).batch(held)["zscore"].equals(table["held_z"])


def test_another_symbol_is_the_feature_of_its_bars():
    bars = bars_of(100)
    other = bars.select("ts", *(pl.col(f"BTCUSDT.{c}").alias(c) for c in ("high", "low", "close")))
    ours = FeatureSet({"atr": {"symbol": "BTCUSDT"}}).batch(bars)
    assert bytes_of(ours) == bytes_of(FeatureSet({"atr": {}}).batch(other))


def test_lookback_and_warmup_count_base_bars_and_what_columns_wait_for():
    features, bars = FeatureSet(MIXED, "1m"), bars_of(400)
    for start in range(15):
        table = features.batch(bars_of(400, start)).select(features.columns)
        whole = table.select(pl.all_horizontal(pl.all().is_not_nan())).to_series()
        assert whole.arg_true()[0] <= features.lookback - 1
    assert features.lookback < 150
    assert features.warmup >= features.lookback
    cold = features.batch(bars[100:])
    compared = slice(features.warmup, None)
    longest = FeatureSet(MIXED, "1m").batch(bars_of(4_000))
    later = FeatureSet(MIXED, "1m").batch(bars_of(4_000)[1_000:])
    assert cold.height == 300
    for name in features.columns:
        np.testing.assert_allclose(
            later[name].to_numpy()[compared], longest[name].to_numpy()[1_000:][compared], rtol=1e-7, atol=1e-7
        )
    with pytest.raises(InvalidInput, match="feature set timeframe must be told"):
        _ = FeatureSet(MIXED).lookback
    assert FeatureSet({"obv": {}}).warmup == UNBOUNDED


def test_the_description_makes_the_set_again():
    features = FeatureSet(MIXED, "1m")
    again = FeatureSet.from_dict(features.to_dict())
    assert again.timeframe == "1m"
    assert again.fingerprint == features.fingerprint
    assert FeatureSet(dict(reversed(MIXED.items())), "1m").fingerprint == features.fingerprint
    assert FeatureSet({"timeframe": "1m", **MIXED}).fingerprint == features.fingerprint
    changed = [
        FeatureSet(MIXED), FeatureSet({**MIXED, "rsi_z": {"feature": "zscore", "length": 6, "of": "volume"}}, "1m"),
        FeatureSet({**MIXED, "btc": {"feature": "log_return", "length": 2, "symbol": "ETHUSDT"}}, "1m"),
        FeatureSet({**MIXED, "slow": {**MIXED["slow"], "timeframe": "5m"}}, "1m"),
    ]  # fmt: skip
    assert len({features.fingerprint, *(other.fingerprint for other in changed)}) == 5
    with pytest.raises(FingerprintMismatch):
        changed[0].stream().restore(features.stream().snapshot())


def test_lineage_follows_columns_to_the_bars():
    lineage = {row["column"]: row for row in FeatureSet(MIXED, "1m").lineage().iter_rows(named=True)}
    assert lineage["rsi_3m_z"]["inputs"] == ["rsi_3m"]
    assert lineage["rsi_3m_z"]["bars"] == ["close"]
    assert lineage["rsi_3m_z"]["timeframe"] == "3m"
    assert lineage["held_z"]["bars"] == ["close"]
    assert lineage["btc_5m"]["bars"] == ["BTCUSDT.high", "BTCUSDT.low", "BTCUSDT.close"]


def test_a_longer_bar_is_made_of_the_base_bars_on_which_all_can_be_read():
    # Half of the base bars lack the taker's side, or the other symbol: what is there of both is of the same minutes.
    bars = bars_of(240).with_columns(taker_buy_volume=pl.col("volume") * 0.5)
    bars = bars.with_columns(pl.col("close") * 1.0, (pl.col("close") * 10.0).alias("BTCUSDT.close"))
    late = (pl.int_range(pl.len()) % 60) >= 30
    holed = bars.with_columns(
        pl.when(late).then(None).otherwise(pl.col(c)).alias(c) for c in ("taker_buy_volume", "BTCUSDT.close")
    )
    features = FeatureSet(
        {
            "takers": {"feature": "taker_ratio", "length": 1, "timeframe": "1h"},
            "ratio": {"feature": "ratio", "of": ["BTCUSDT.close", "close"], "timeframe": "1h"},
        },
        "1m",
    )
    table = features.batch(holed)
    np.testing.assert_allclose(table["takers.log_ratio"].drop_nans().to_numpy(), 0.0, atol=1e-12)
    np.testing.assert_allclose(table["ratio"].drop_nans().to_numpy(), 10.0, rtol=1e-12)
    assert table["ratio"].is_not_nan().sum() == 240 - 59


def test_a_context_series_is_held_whatever_its_name():
    bars = bars_of(120).with_columns(pl.lit(7.0).alias("etf.volume"), pl.lit(1.0).alias("etf.volume.age"))
    table = FeatureSet({"etf": {"feature": "context", "series": "etf.volume", "timeframe": "1h"}}, "1m").batch(bars)
    assert set(table["etf.value"].drop_nans().to_list()) == {7.0}


def test_an_output_named_like_a_column_of_bars_can_be_read():
    features = FeatureSet({"swings": {}, "d": {"feature": "difference", "of": "swings.high"}}, "1m")
    assert features.batch(bars_of(60))["d"].is_not_nan().any()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"rsi": {"timeframe": "7m"}}, "rsi.timeframe must be one of 1m"),
        ({"rsi": {"timeframe": 5}}, "rsi.timeframe must be one of"),
        ({"rsi": {"symbol": ""}}, "rsi.symbol must be a name"),
        ({"rsi": {"of": "close"}}, "rsi.of has no meaning: rsi reads close"),
        ({"rsi": {"reference": "BTCUSDT"}}, "rsi.reference has no meaning"),
        ({"hour_cycle": {"symbol": "BTCUSDT"}}, "hour_cycle.symbol has no meaning"),
        ({"hour_cycle": {"timeframe": "1h"}}, "hour_cycle.timeframe has no meaning: hour_cycle reads the time alone"),
        ({"footprint": {"timeframe": "1h"}}, "footprint.timeframe must be that of the bars: longer ones have no footp"),
        ({"rsi": {"timeframe": ["1h"]}}, "rsi.timeframe must be one of"),
        ({"timeframe": {"feature": "rsi"}}, "none of them called 'timeframe'"),
        ({"context": {"series": "ts"}}, "context.series must be a name"),
        ({"zscore": {"of": "X.ts"}}, "zscore.of must name a column"),
        ({"zscore": {"of": ".close"}}, "zscore.of must name a column"),
        ({"zscore": {"of": "ETH.close", "symbol": "BTC"}}, "zscore.symbol has no meaning: ETH.close names a symbol"),
        ({"rsi": {"length": 10**400}}, "rsi: rsi.length must lie in"),
        ({"rsi": {1: 2, "a": 3}}, "is not a parameter"),
        (
            {"zscore": {"of": "rsi"}},
            r"zscore.of must name a column of the bars \(close, volume …\) or of another entry \(none\)",
        ),
        ({"zscore": {"of": "zscore"}}, "zscore.of must name a column"),
        ({"zscore": {"of": ["close"]}}, "zscore.of must be a name"),
        ({"zscore": {"of": "ts"}}, "zscore.of must be a name"),
        ({"product": {"of": "close"}}, "product.of must be a list of 2 names"),
        ({"product": {"of": ["close"]}}, "product.of must be a list of 2 names"),
        ({"altcoin_index": {"basket": ["A", "A"]}}, "altcoin_index.basket must be a list of 1 to 32 different names"),
        ({"altcoin_index": {"basket": []}}, "altcoin_index.basket must be a list of"),
        (
            {"a": {"feature": "zscore", "of": "b"}, "b": {"feature": "zscore", "of": "a"}},
            "must not have entries that read each other",
        ),
        (
            {"rsi": {}, "z": {"feature": "zscore", "of": "rsi", "timeframe": "5m"}},
            r"z.timeframe must be that of 'rsi', whose column it reads \(none given\)",
        ),
        ({"volume": {"feature": "rsi"}, "z": {"feature": "zscore", "of": "volume"}}, "z.of must name one thing"),
        ({"rsi": {}, "z": {"feature": "zscore", "of": "rsi", "symbol": "A"}}, "z.symbol has no meaning"),
        ({"timeframe": "7m", "rsi": {}}, "interval"),
        ({"timeframe": "1m"}, "at least one feature"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec, message):
    with pytest.raises(InvalidInput, match=message):
        FeatureSet(spec)


def test_a_timeframe_must_be_a_multiple_of_the_sets():
    with pytest.raises(InvalidInput, match=r"rsi.timeframe must be a multiple of the set's \(5m\); received '3m'"):
        FeatureSet({"rsi": {"timeframe": "3m"}}, "5m")
    with pytest.raises(InvalidInput, match="feature set timeframe must be 5m"):
        FeatureSet({"timeframe": "1m", "rsi": {}}, "5m")


def test_blocks_give_what_the_whole_table_gives():
    bars = bars_of(500)
    stored = bars.filter(~pl.int_range(pl.len()).is_in([40, 41, 100, 101, 102, 399]))
    features = FeatureSet(MIXED, "1m")
    blocks = [stored[i : i + 100] for i in range(0, stored.height, 100)]
    parts = pl.concat(list(features.blocks(blocks_on_clock(blocks, "1m"))))
    assert bytes_of(parts) == bytes_of(features.batch(on_clock(stored, "1m")))
    with pytest.raises(MisalignedBars, match="must follow one another"):
        list(blocks_on_clock([blocks[1], blocks[0]], "1m"))
