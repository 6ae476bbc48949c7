"""The runner's parts: journal, order ids, parity of tables, policy snapshots."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from live.bundle_files import load_bundle
from live.decide import Decider
from live.journal import Journal, read_journal
from research.errors import CorruptFile, FingerprintMismatch, InvalidInput
from research.market.bars import NS_PER_MINUTE, arrays, epoch_ns
from research.parity import compare
from research.policy import BAR_INPUTS, Policy, PolicySpec
from research.predictor import Predictor


def written(path, n=5):
    with Journal(path, durable=True) as journal:
        for i in range(n):
            journal.write("bar", {"ts": i, "close": 1.5})
    return path


def test_a_journal_reads_back_as_it_was_written(tmp_path):
    events = list(read_journal(written(tmp_path / "a" / "j.jsonl")))
    assert [e["ts"] for e in events] == [0, 1, 2, 3, 4]
    assert [e["seq"] for e in events] == [0, 1, 2, 3, 4]


@given(cut=st.integers(1, 200))
@settings(max_examples=60)
def test_a_journal_cut_short_gives_its_whole_lines(tmp_path_factory, cut):
    path = written(tmp_path_factory.mktemp("cut") / "j.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    events = list(read_journal(path))
    assert [e["ts"] for e in events] == list(range(len(events)))
    assert len(events) == path.read_bytes().count(b"\n")


def test_a_journal_damaged_in_the_middle_is_refused(tmp_path):
    path = written(tmp_path / "j.jsonl")
    lines = path.read_text().split("\n")
    lines[2] = lines[2].replace("1.5", "1.6")
    path.write_text("\n".join(lines))
    with pytest.raises(CorruptFile, match="line 3"):
        list(read_journal(path))
    del lines[2]
    path.write_text("\n".join(lines))
    with pytest.raises(CorruptFile, match="event 3 stands where 2"):
        list(read_journal(path))


@pytest.fixture(scope="module")
def trending_bars(default_build):
    _, workspace = default_build
    bars = workspace.clean.bars("simulated", "linear", "SOLUSDT", "1m").head(12_000)
    return epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True))


@pytest.fixture
def rule_spec():
    return PolicySpec(
        base_interval="1m",
        decision_interval="5m",
        strategy="trend",
        sizer="volatility_target",
        features={
            "trend": {"feature": "ema_spread", "fast": 12, "slow": 48},
            "efficiency": {"length": 48},
            "volatility": {},
        },
        strategy_inputs={"trend": "trend", "quality": "efficiency"},
        volatility="volatility",
    )


def outputs(policy, ts, columns, edges):
    parts = [policy.push(ts[a:b], {n: v[a:b] for n, v in columns.items()}) for a, b in pairwise(edges)]
    return [
        np.concatenate([getattr(p, n) for p in parts]).tobytes()
        for n in ("ts", "features", "score", "target", "exposure")
    ]


@given(cuts=st.lists(st.integers(1, 11_999), max_size=6, unique=True))
@settings(max_examples=25)
def test_any_split_of_the_bars_gives_the_same_decisions(trending_bars, promoted, cuts):
    ts, columns = trending_bars
    _, workspace, _ = promoted
    bundle, _ = load_bundle("sol-intraday@champion", workspace.root / "models/promoted")
    whole = outputs(bundle.policy(None), ts, columns, [0, ts.size])
    assert outputs(bundle.policy(None), ts, columns, [0, *sorted(cuts), ts.size]) == whole


def test_a_policy_continues_from_its_snapshot(trending_bars, rule_spec):
    ts, columns = trending_bars
    uninterrupted = Policy(rule_spec, Predictor.none())
    expected = outputs(uninterrupted, ts, columns, [0, 7_003, ts.size])
    first, second = Policy(rule_spec, Predictor.none()), Policy(rule_spec, Predictor.none())
    head = outputs(first, ts, columns, [0, 7_003])
    second.restore(first.snapshot())
    tail = outputs(second, ts, columns, [7_003, ts.size])
    assert [a + b for a, b in zip(head, tail, strict=True)] == expected
    assert second.snapshot() == uninterrupted.snapshot()


def test_a_policy_may_decide_on_longer_timeframes_and_features_of_features(trending_bars, rule_spec):
    ts, columns = trending_bars
    features = {
        "trend": {"feature": "ema_spread", "fast": 12, "slow": 48, "timeframe": "15m"},
        "efficiency": {"length": 48},
        "volatility": {},
        "rank": {"of": "volatility", "length": 20},
        "vwap": {"feature": "session_vwap"},
    }
    spec = replace(rule_spec, features=features)
    whole = outputs(Policy(spec, Predictor.none()), ts, columns, [0, ts.size])
    assert outputs(Policy(spec, Predictor.none()), ts, columns, [*range(0, ts.size, 997), ts.size]) == whole
    first, second = Policy(spec, Predictor.none()), Policy(spec, Predictor.none())
    head = outputs(first, ts, columns, [0, 7_004])
    second.restore(first.snapshot())
    tail = outputs(second, ts, columns, [7_004, *range(7_005, 7_040), ts.size])
    assert [a + b for a, b in zip(head, tail, strict=True)] == whole


def test_a_snapshot_of_another_policy_is_refused(rule_spec):
    one = Policy(rule_spec, Predictor.none())
    other = Policy(replace(rule_spec, strategy_params={"enter": 2.5}), Predictor.none())
    with pytest.raises(FingerprintMismatch):
        other.restore(one.snapshot())
    with pytest.raises(InvalidInput, match="policy snapshot"):
        one.restore(b"nonsense")


def test_a_cut_or_altered_snapshot_is_refused_and_changes_nothing(trending_bars, rule_spec):
    ts, columns = trending_bars
    policy = Policy(rule_spec, Predictor.none())
    outputs(policy, ts, columns, [0, 3_001])
    whole = policy.snapshot()
    other = Policy(rule_spec, Predictor.none())
    outputs(other, ts, columns, [0, 3_001, 5_000])
    before = other.snapshot()
    for cut in range(0, len(whole), 7):
        with pytest.raises(InvalidInput):
            other.restore(whole[:cut])
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 1 << (at % 8)
        with pytest.raises((InvalidInput, FingerprintMismatch)):
            other.restore(bytes(altered))
    assert other.snapshot() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"strategy": "magic"}, "policy.strategy"),
        ({"sizer": "magic"}, "policy.sizer"),
        ({"volatility": "x"}, "volatility"),
        ({"strategy_inputs": {"trend": "nothing", "quality": "efficiency"}}, "'trend'"),
        ({"decision_interval": "1m", "base_interval": "5m"}, "decision_interval"),
        ({"strategy": "threshold"}, "predictor.columns"),
        (
            {"features": {"trend": {"feature": "ema_spread"}, "efficiency": {}, "volatility": {}, "basis": {}}},
            r"policy.features must come from the bars of the traded symbol .*received \['spot'\]",
        ),
        (
            {"features": {"trend": {"feature": "ema_spread", "timeframe": "3m"}, "efficiency": {}, "volatility": {}}},
            "trend.timeframe must be a multiple",
        ),
    ],
)
def test_a_policy_that_does_not_fit_together_is_refused(rule_spec, change, named):
    with pytest.raises(InvalidInput, match=named):
        Policy(replace(rule_spec, **change), Predictor.none())


def test_a_specification_survives_json(rule_spec):
    again = PolicySpec.from_dict(json.loads(json.dumps(rule_spec.to_dict())))
    assert again == rule_spec
    assert list(again.features) == list(rule_spec.features)
    with pytest.raises(InvalidInput, match=r"policy\.colour"):
        PolicySpec.from_dict({**rule_spec.to_dict(), "colour": "red"})


def test_order_ids_depend_on_the_decision_alone(trending_bars, rule_spec):
    ts, columns = trending_bars

    def ids(fingerprint):
        decider = Decider(Policy(rule_spec, Predictor.none()), fingerprint, "SOLUSDT", 5 * NS_PER_MINUTE)
        intents = [
            decider.on_bar(ts[i : i + 1], {n: v[i : i + 1] for n, v in columns.items()})[1] for i in range(4_000)
        ]
        return [i.client_id for i in intents if i is not None]

    first = ids("a")
    assert first == ids("a")
    assert len(set(first)) == len(first) > 5
    assert set(first).isdisjoint(ids("b"))
    assert all(len(i) <= 36 and i.isalnum() for i in first)


def test_negative_zero_and_another_nan_are_differences():
    zero, nan = {"x": np.array([0.0])}, {"x": np.array([np.nan])}
    assert not compare("t", zero, {"x": np.array([-0.0])}).is_equal
    other = np.array([0x7FF8000000000001], dtype=np.uint64).view(np.float64)
    assert compare("t", nan, {"x": np.array([np.nan])}).is_equal
    assert not compare("t", nan, {"x": other}).is_equal


@pytest.mark.parametrize(
    ("actual", "said"),
    [
        ({"x": np.array([1.0])}, "has 1 rows, expected 2"),
        ({"y": np.array([1.0, 2.0])}, "columns"),
        ({"x": np.array([1, 2])}, "int64, expected float64"),
    ],
)
def test_a_difference_of_shape_is_told(actual, said):
    comparison = compare("t", {"x": np.array([1.0, 2.0])}, actual)
    assert not comparison.is_equal
    assert said in comparison.difference
