"""A feature set: what it accepts, what identifies it, and that its stream is its batch."""

import copy
import pickle
import struct
import zlib
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import FingerprintMismatch, InvalidInput, MisalignedBars, SchemaMismatch
from research.features import CATALOGUE, FeatureSet
from research.features.aliases import ALIASES
from research.features.inputs import PRICE, SIZE, kind_of
from research.market.bars import TS

MINUTE_NS = 60_000_000_000
MIXED_CHAIN = {
    "rsi": {"length": 5},
    "slow": {"feature": "ema", "length": 3, "timeframe": "5m"},
    "z": {"feature": "zscore", "of": "slow"},
}
EVERYTHING = {name: {} for name in CATALOGUE}


def bars_of(n: int, seed: int = 3) -> pl.DataFrame:
    """Return bars with every column that the whole catalogue reads."""
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, n)))
    reach = np.abs(rng.normal(0.0, 1e-3, n))
    columns = {
        "ts": pl.Series(np.arange(n) * MINUTE_NS).cast(TS), "open": close, "high": close * (1 + reach),
        "low": close * (1 - reach), "close": close, "volume": rng.lognormal(1.0, 1.0, n),
    }  # fmt: skip
    for name in FeatureSet(EVERYTHING).inputs:
        kind = kind_of(name)
        if name not in columns:
            columns[name] = close * rng.uniform(0.99, 1.01, n) if kind == PRICE else rng.normal(0.0, 1.0, n)
        if kind == SIZE:
            columns[name] = np.abs(columns[name])
    return pl.DataFrame(columns)


def bytes_of(frame: pl.DataFrame) -> bytes:
    return b"".join(frame[name].to_physical().to_numpy().tobytes() for name in frame.columns)


def test_the_key_is_the_column_and_may_be_an_alias():
    features = FeatureSet({"rsi": {"length": 7}, "fast": {"feature": "ema", "length": 8}, "wave": {"feature": "macd"}})
    assert features.columns == ["rsi", "fast", "wave.line", "wave.signal", "wave.histogram"]
    assert features.inputs == ("close",)
    bars = bars_of(120)
    frame = features.batch(bars)
    assert frame.columns == ["ts", *features.columns]
    assert frame["ts"].equals(bars["ts"])
    alone = FeatureSet({"ema": {"length": 8}}).batch(bars)
    assert bytes_of(frame.select("fast")) == bytes_of(alone.select("ema"))


def test_lookback_is_the_first_row_without_nan():
    features = FeatureSet({"rsi": {"length": 7}, "slow": {"feature": "ema", "length": 30}})
    frame = features.batch(bars_of(80)).select(features.columns)
    whole = frame.select(pl.all_horizontal(pl.all().is_not_nan())).to_series()
    assert features.lookback == 30
    assert whole.arg_true()[0] == features.lookback - 1
    assert features.warmup > features.lookback


@pytest.mark.parametrize(
    ("spec", "subject"),
    [
        ({}, "feature set"),
        ([("rsi", {})], "feature set"),
        ({"": {"feature": "rsi"}}, "feature set key"),
        ({3: {"feature": "rsi"}}, "feature set key"),
        ({"rsi": 14}, "rsi: parameters"),
        ({"rsi": None}, "rsi: parameters"),
        ({"rsy": {}}, "rsy: feature"),
        ({"a": {"feature": 3}}, "a: feature"),
        ({"a": {"feature": ["ema"]}}, "a: feature"),
        ({"ts": {"feature": "rsi"}}, "feature set column 'ts'"),
        ({"macd": {}, "macd.line": {"feature": "ema"}}, "feature set column 'macd.line'"),
        ({"rsi": {"lenght": 14}}, "rsi: rsi.lenght"),
        ({"rsi": {"length": 1}}, "rsi: rsi.length"),
        ({"rsi": {"length": 10**9}}, "rsi: rsi.length"),
        ({"rsi": {"length": 14.5}}, "rsi: rsi.length"),
        ({"rsi": {"length": True}}, "rsi: rsi.length"),
        ({"rsi": {"length": "14"}}, "rsi: rsi.length"),
        ({"rsi": {"length": None}}, "rsi: rsi.length"),
        ({"rsi": {"length": float("nan")}}, "rsi: rsi.length"),
        ({"rsi": {"length": float("inf")}}, "rsi: rsi.length"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(spec, subject):
    with pytest.raises(InvalidInput) as refused:
        FeatureSet(spec)
    assert refused.value.subject == subject


def test_an_error_names_what_would_be_right():
    with pytest.raises(InvalidInput, match="known: length"):
        FeatureSet({"rsi": {"smoothing": 3}})
    with pytest.raises(InvalidInput, match=r"must name a feature \(did you mean .*rsi.*\?\).*received 'rsy'"):
        FeatureSet({"rsy": {}})


def test_a_whole_float_is_the_same_parameter():
    assert FeatureSet({"rsi": {"length": 14.0}}).fingerprint == FeatureSet({"rsi": {"length": 14}}).fingerprint
    assert FeatureSet({"rsi": {"length": np.int64(14)}}).to_dict() == {"rsi": {"feature": "rsi", "length": 14}}


def test_the_fingerprint_is_that_of_the_meaning():
    one = FeatureSet({"rsi": {"length": 14}, "wave": {"feature": "macd", "fast": 5, "slow": 9}})
    other = FeatureSet({"wave": {"slow": 9, "fast": 5, "feature": "macd"}, "rsi": {}})
    assert one.fingerprint == other.fingerprint
    assert len(bytes.fromhex(one.fingerprint)) == 32
    changed = [
        {"rsi": {"length": 15}, "wave": {"feature": "macd", "fast": 5, "slow": 9}},
        {"rsi": {"length": 14}, "waves": {"feature": "macd", "fast": 5, "slow": 9}},
        {"rsi": {"length": 14}},
        {"rsi": {"feature": "ema", "length": 14}, "wave": {"feature": "macd", "fast": 5, "slow": 9}},
    ]
    assert len({one.fingerprint, *(FeatureSet(spec).fingerprint for spec in changed)}) == 5


def test_the_description_makes_the_set_again():
    features = FeatureSet(EVERYTHING)
    again = FeatureSet.from_dict(features.to_dict())
    assert again.to_dict() == features.to_dict()
    assert again.fingerprint == features.fingerprint
    assert pickle.loads(pickle.dumps(features)).fingerprint == features.fingerprint


def test_lineage_says_where_a_column_comes_from():
    lineage = FeatureSet({"fast": {"feature": "ema", "length": 8}, "hour_cycle": {}}).lineage()
    assert lineage.columns == [
        "column", "feature", "params", "timeframe", "inputs", "bars", "lookback", "warmup", "unit",
    ]  # fmt: skip
    assert lineage.row(0)[:7] == ("fast", "ema", '{"length": 8}', None, ["close"], ["close"], 8)
    assert lineage["column"].to_list() == ["fast", "hour_cycle.sin", "hour_cycle.cos"]
    assert lineage["inputs"].to_list() == [["close"], ["ts"], ["ts"]]


@given(cuts=st.sets(st.integers(0, 400), max_size=8))
@settings(max_examples=20, deadline=None)
def test_a_stream_is_the_batch(cuts):
    features, bars = FeatureSet(EVERYTHING), bars_of(400)
    stream, edges = features.stream(), [0, *sorted(cuts), 400]
    parts = pl.concat([stream.push(bars[a:b]) for a, b in pairwise(edges)])
    assert bytes_of(parts) == bytes_of(features.batch(bars))


def test_one_bar_at_a_time_without_frames_is_the_batch():
    features, bars = FeatureSet(EVERYTHING), bars_of(300)
    columns = {name: bars[name].to_numpy() for name in features.inputs if name != "ts"}
    columns["ts"] = bars["ts"].to_physical().to_numpy()
    stream = features.stream()
    rows = [stream.push_arrays({name: column[i : i + 1] for name, column in columns.items()}) for i in range(300)]
    expected = features.batch(bars).select(features.columns).to_numpy()
    assert np.ascontiguousarray(np.concatenate(rows, axis=1).T).tobytes() == np.ascontiguousarray(expected).tobytes()
    assert stream.last_ns == 299 * MINUTE_NS


def test_threads_change_nothing():
    features, bars = FeatureSet(EVERYTHING), bars_of(500)
    assert bytes_of(features.batch(bars, threads=3)) == bytes_of(features.batch(bars))
    for threads in (0, -1, 1.5, True, "2"):
        with pytest.raises(InvalidInput, match="threads"):
            features.batch(bars, threads=threads)


def test_a_push_compiles_no_second_version_for_foreign_arrays():
    features, bars = FeatureSet({"ema": {"length": 5}}), bars_of(64)
    features.batch(bars)
    close = bars["close"].to_numpy()
    read_only = close.copy()
    read_only.flags.writeable = False
    strided = np.repeat(close, 2)[::2]
    expected = features.stream().push_arrays({"close": close.copy()})
    for array in (read_only, strided):
        assert features.stream().push_arrays({"close": array}).tobytes() == expected.tobytes()
    assert len(CATALOGUE["ema"].kernel.signatures) == 1


def test_a_snapshot_goes_on():
    features, bars = FeatureSet(EVERYTHING), bars_of(300)
    stream = features.stream()
    stream.push(bars[:140])
    blob = stream.snapshot()
    rest = stream.push(bars[140:])
    resumed = FeatureSet(dict(reversed(EVERYTHING.items()))).stream()  # the order of columns is not part of it
    resumed.restore(blob)
    assert resumed.snapshot() == blob
    assert bytes_of(resumed.push(bars[140:]).select(rest.columns)) == bytes_of(rest)
    assert resumed.snapshot() == stream.snapshot()


def test_a_snapshot_of_another_set_is_refused():
    bars = bars_of(50)
    stream, other = FeatureSet({"rsi": {}}).stream(), FeatureSet({"rsi": {"length": 15}}).stream()
    stream.push(bars)
    other.push(bars[:10])
    before = other.snapshot()
    with pytest.raises(FingerprintMismatch):
        other.restore(stream.snapshot())
    assert other.snapshot() == before


def test_a_damaged_snapshot_is_refused_and_changes_nothing():
    stream = FeatureSet({"zscore": {"length": 5}}).stream()
    stream.push(bars_of(30))
    blob = stream.snapshot()
    damaged = [b"", blob[:20], blob[:-1], blob + b"\0", b"x" + blob[1:], blob[:-3] + bytes([blob[-3] ^ 1]) + blob[-2:]]
    for broken in damaged:
        with pytest.raises(InvalidInput, match="snapshot"):
            stream.restore(broken)
    assert stream.snapshot() == blob
    told = struct.unpack_from("<I", blob, 64)[0]
    assert told == zlib.crc32(blob[:64] + blob[68:])
    for at in range(0, 68, 3):  # the clock of the header counts as the state does
        altered = blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]
        with pytest.raises((InvalidInput, FingerprintMismatch)):
            stream.restore(altered)
    with pytest.raises(InvalidInput, match="snapshot"):
        stream.restore(None)


def test_a_copy_goes_its_own_way():
    features, bars = FeatureSet(MIXED_CHAIN, "1m"), bars_of(90)
    for warm in (range(0, 60, 60), range(0, 60)):  # in one block, and bar by bar
        stream = features.stream()
        for i in warm:
            stream.push(bars[i : i + len(range(0, 60)) // len(warm)])
        expected = features.batch(bars)[60:]
        for other in (copy.copy(stream), copy.deepcopy(stream)):
            assert bytes_of(
                pl.concat([other.push(bars[60:75]), *(other.push(bars[i : i + 1]) for i in range(75, 90))])
            ) == bytes_of(expected)
        assert bytes_of(stream.push(bars[60:])) == bytes_of(expected)
    with pytest.raises(InvalidInput, match="snapshot"):
        pickle.dumps(stream)


def test_no_bars_leave_the_clock_alone():
    stream = FeatureSet({"ema": {"length": 2}}).stream()
    stream.push(bars_of(5))
    stream.push_arrays({"close": np.empty(0)})
    assert stream.last_ns == 4 * MINUTE_NS


def test_a_kept_column_keeps_its_entry_alone():
    many = FeatureSet({f"e{i}": {"feature": "ema", "length": 2 + i} for i in range(20)})
    one = many.batch(bars_of(5_000))["e3"]
    assert one.to_arrow().get_total_buffer_size() <= 8 * 5_000
    assert one.to_numpy().tobytes() == many.batch(bars_of(5_000))["e3"].to_numpy().tobytes()


@pytest.mark.parametrize("bars", [None, {"ts": [1]}, pl.LazyFrame({"ts": [1]}), [1, 2]])
def test_what_is_no_table_is_refused(bars):
    with pytest.raises(SchemaMismatch, match="bars must be"):
        FeatureSet({"rsi": {}}).batch(bars)
    with pytest.raises(SchemaMismatch, match="bars"):
        FeatureSet({"rsi": {}}).stream().push_arrays(bars if isinstance(bars, dict) else None)


def test_a_masked_array_is_refused_before_anything_is_taken():
    stream = FeatureSet({"a": {"feature": "roc", "length": 1}, "b": {"feature": "volume_zscore", "length": 3}}).stream()
    before = stream.snapshot()
    with pytest.raises(SchemaMismatch, match=r"bars\.volume"):
        stream.push_arrays({"close": np.ones(3), "volume": np.ma.MaskedArray(np.ones(3))})
    assert stream.snapshot() == before


CALLED = [
    ("vwap", "session_vwap"), ("psar", "parabolic_sar"), ("stop hunt", "liquidity_sweep"), ("FVG", "fair_value_gaps"),
    ("hma", "hull_ma"), ("supertrand", "supertrend"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), CALLED)
def test_names_of_the_trade_are_understood_in_errors(said, meant):
    with pytest.raises(InvalidInput, match=rf"did you mean .*{meant}"):
        FeatureSet({"x": {"feature": said}})
    assert all(name in CATALOGUE for names in ALIASES.values() for name in names)
    assert not set(ALIASES) & set(CATALOGUE)


def test_a_missing_bar_gives_nan_and_moves_nothing():
    timeless = {name: {} for name, spec in CATALOGUE.items() if "ts" not in spec.inputs}
    features, bars = FeatureSet(timeless), bars_of(200)
    gone = pl.int_range(pl.len()).is_in([100, 101, 150])
    holed = bars.with_columns(pl.when(gone).then(float("nan")).otherwise(pl.col(pl.Float64)).name.keep())
    frame = features.batch(holed)
    blank = frame.filter(gone).select(pl.exclude("ts"))
    assert blank.select(pl.all_horizontal(pl.all().is_nan().all())).item()
    whole = bars.filter(~gone).with_columns(bars["ts"][: 200 - 3])  # the same bars, as if none had been missed
    kept = frame.filter(~gone).select(pl.exclude("ts"))
    assert bytes_of(kept) == bytes_of(features.batch(whole).select(kept.columns))


def test_null_is_nan():
    bars = bars_of(60)
    null = bars.with_columns(pl.when(pl.int_range(pl.len()) == 30).then(None).otherwise(pl.col("close")).alias("close"))
    nan = bars.with_columns(
        pl.when(pl.int_range(pl.len()) == 30).then(float("nan")).otherwise(pl.col("close")).alias("close")
    )
    features = FeatureSet({"rsi": {"length": 5}})
    assert bytes_of(features.batch(null)) == bytes_of(features.batch(nan))


@pytest.mark.parametrize(
    "order", [[0, 1, 3], [0, 2, 1], [0, 1, 1], [1, 0]], ids=["missing", "swapped", "repeated", "backwards"]
)
def test_bars_off_the_clock_are_refused(order):
    features = FeatureSet({"ema": {"length": 2}})
    bars = bars_of(5)
    with pytest.raises(MisalignedBars, match=r"bars\.ts"):
        features.batch(bars[order])
    stream = features.stream()
    for i in order[:-1]:
        stream.push(bars[i : i + 1])
    with pytest.raises(MisalignedBars, match=r"bars\.ts"):
        stream.push(bars[order[-1] : order[-1] + 1])


def test_a_refused_push_consumes_nothing():
    features, bars = FeatureSet(EVERYTHING), bars_of(90)
    stream = features.stream()
    stream.push(bars[:60])
    before = stream.snapshot()
    refused = [
        (bars[59:], MisalignedBars),  # the newest bar again
        (bars[61:], MisalignedBars),  # one left out
        (bars[60:].drop("high"), SchemaMismatch),
        (bars[60:].drop("ts"), SchemaMismatch),
        (bars[60:].with_columns(pl.col("close").cast(pl.String)), SchemaMismatch),
        (bars[60:].with_columns(pl.col("ts").dt.replace_time_zone(None)), SchemaMismatch),
        (bars[60:].with_columns(pl.lit(None, dtype=TS).alias("ts")), MisalignedBars),
    ]
    for chunk, error in refused:
        with pytest.raises(error):
            stream.push(chunk)
    close, ts = np.ones(2), np.arange(60, 62) * MINUTE_NS
    short = {name: np.ones(2) for name in features.inputs if name != "ts"}
    for chunk in (
        {**short, "ts": ts[:1]},
        {**short, "ts": ts.astype(float)},
        {**short, "ts": ts, "close": close.astype(np.float32)},
        {**short, "ts": ts, "close": close.reshape(1, 2)},
        {**short, "ts": ts, "close": [1.0, 2.0]},
        {"ts": ts, "close": close},
    ):
        with pytest.raises(SchemaMismatch):
            stream.push_arrays(chunk)
    assert stream.snapshot() == before
    assert bytes_of(stream.push(bars[60:])) == bytes_of(features.batch(bars)[60:])


def test_a_millisecond_clock_is_as_good():
    features, bars = FeatureSet(EVERYTHING), bars_of(60)
    in_ms = bars.with_columns(pl.col("ts").cast(pl.Datetime("ms", "UTC")))
    assert bytes_of(features.batch(in_ms)) == bytes_of(features.batch(bars))


def test_no_bars_give_no_rows():
    features = FeatureSet(EVERYTHING)
    stream = features.stream()
    before = stream.snapshot()
    assert stream.push(bars_of(5)[:0]).shape == (0, 1 + len(features.columns))
    assert stream.snapshot() == before
    assert stream.last_ns is None


def test_without_ts_the_clock_is_not_asked():
    stream = FeatureSet({"ema": {"length": 2}}).stream()
    stream.push_arrays({"close": np.ones(3)})
    assert stream.last_ns is None
    stream.push_arrays({"close": np.ones(2), "ts": np.arange(2) * MINUTE_NS})
    assert stream.last_ns == MINUTE_NS
