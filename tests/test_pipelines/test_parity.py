"""The proof that live would do the same: it holds where it should, and sees a single bit that differs."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from pipelines.desk import account_settings, costs, open_desk
from pipelines.parity import LONGEST_CHUNK, SINGLE_BARS, chunk_edges, prove
from research.backtest import Leg, simulate
from research.execution.costs import Costs
from research.market.bars import TS, arrays, epoch_ns
from research.policy import BAR_INPUTS, Policy, PolicySpec
from research.predictor import Predictor

BARS = 4_000


@pytest.fixture(scope="module")
def proven(small_build):
    """Return everything that a proof is made of, over the first bars of the small build's hold-out."""
    params, workspace = small_build
    desk = open_desk(params, workspace)
    candidate = workspace.read_json("models/candidate/candidate.json")
    predictor = Predictor.from_dict(candidate["predictor"], workspace.read_bytes("models/candidate/predictor.bin"))
    policy = Policy(PolicySpec.from_dict(candidate["policy"]), predictor)
    start_ns = workspace.read_json("data/backtest/window.json")["start_ns"]
    bars = desk.bars.filter(pl.col("ts").cast(TS).to_physical() >= start_ns).head(BARS)
    warm = workspace.read_bytes("data/backtest/warm_start.bin")
    policy.restore(warm)
    decisions = policy.push(epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True)))
    leg = Leg(bars, desk.instrument, funding=desk.funding)
    result = simulate(
        bars, decisions.exposures_per_bar(bars.height), instrument=desk.instrument, costs=costs(params),
        funding=desk.funding, gaps="hold", **account_settings(params),
    )  # fmt: skip
    return {
        "policy": policy, "warm_start": warm, "warm_end": policy.snapshot(), "leg": leg, "costs": costs(params),
        "account": account_settings(params), "decisions": decisions, "result": result, "seed": 3,
    }  # fmt: skip


def differing(given, **other):
    return [table.name for table in prove(**(given | other)) if not table.is_equal]


def test_single_bars_come_first_and_chunks_cover_all():
    edges = chunk_edges(10_000, seed=1)
    lengths = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, 10_000)
    assert (lengths[:SINGLE_BARS] == 1).all()
    assert 1 <= lengths[SINGLE_BARS:].min() < lengths[SINGLE_BARS:].max() <= LONGEST_CHUNK
    assert chunk_edges(100, seed=1).tolist() == list(range(101))


def test_the_hold_out_bar_by_bar_is_the_block(proven):
    assert differing(proven) == []
    assert proven["result"].ledger.fills.size > 0  # it traded: there was something to compare


def test_one_bit_of_a_decision_is_seen(proven):
    exposure = proven["decisions"].exposure.copy()
    exposure[-1] = np.nextafter(exposure[-1], 9.0)
    assert differing(proven, decisions=replace(proven["decisions"], exposure=exposure)) == ["decisions"]


def test_an_account_under_other_costs_is_seen(proven):
    found = differing(proven, costs=Costs(taker_fee_bps=1.0))
    assert {"fills", "equity"} <= set(found)
    assert "features" not in found


def test_a_policy_that_remembers_otherwise_is_seen(proven):
    cold = Policy(proven["policy"].spec, proven["policy"].predictor).snapshot()
    assert {"features", "state"} & set(differing(proven, warm_start=cold))
    changed = bytearray(proven["warm_end"])
    changed[-1] ^= 1
    assert differing(proven, warm_end=bytes(changed)) == ["state"]
