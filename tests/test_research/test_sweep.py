"""A sweep against the backtests that it stands for: the same figures, whatever blocks, threads and interruptions."""

import math
import os
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from research.backtest import Sweep, simulate, sweep
from research.backtest.combinations import rows_of
from research.errors import FingerprintMismatch, FundingHole, InvalidInput, MisalignedBars
from research.execution import Costs, Margin
from research.features import FeatureSet
from research.market import sample_instrument
from research.market.bars import TS, blocks_on_clock
from research.market.resample import resample
from research.policy import DecisionRule, PolicySpec
from research.risk import Exits

MINUTE_NS = 60 * 10**9
START_NS = 1_704_067_200 * 10**9
SOL = sample_instrument("SOLUSDT")
ROOT = Path(__file__).resolve().parents[2]


def market(n=12_000, seed=3, spread=1.5e-3):
    rng = np.random.Generator(np.random.PCG64(seed))
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, spread, n))), 2)
    opens = np.concatenate(([100.0], close[:-1]))
    high = np.round(np.maximum(opens, close) * (1.0 + rng.random(n) * spread), 2) + 0.01
    low = np.round(np.minimum(opens, close) * (1.0 - rng.random(n) * spread), 2) - 0.01
    return pl.DataFrame(
        {
            "ts": START_NS + MINUTE_NS * np.arange(n),
            "open": opens,
            "high": high,
            "low": low,
            "close": close,
            "volume": rng.uniform(1e4, 1e5, n),
        }
    ).with_columns(pl.col("ts").cast(TS))


def funding(n=12_000, seed=5):
    rng = np.random.Generator(np.random.PCG64(seed))
    ts = START_NS + 480 * MINUTE_NS * np.arange(n // 480 + 2)
    rows = pl.DataFrame({"ts": ts, "rate": rng.normal(0.0, 2e-4, ts.size), "interval_hours": 8.0})
    return rows.with_columns(pl.col("ts").cast(TS))


SPEC = PolicySpec(
    base_interval="1m",
    decision_interval="1m",
    features={
        "fast": {"feature": "sma", "length": 10},
        "slow": {"feature": "sma", "length": 60},
        "atr": {"length": 30},
        "psar": {"feature": "parabolic_sar"},
    },
    strategy="crossover",
    strategy_inputs={"fast": "fast", "slow": "slow"},
    sizer="fixed",
    sizer_params={"exposure": 0.8},
)
COSTS = Costs(half_spread_bps=0.5, slippage_bps=1.0)


def backtest(bars, params, **settings):
    """Return the backtest that a row of a sweep stands for, by the parts of the platform that have no sweep in them."""
    features = {key: dict(entry) for key, entry in SPEC.features.items()}
    spec, costs, margin = SPEC, settings.pop("costs", COSTS), settings.pop("margin", Margin())
    exits, latency = settings.pop("exits", None), 0
    base = settings.pop("spec", SPEC)
    spec = base
    for path, value in params.items():
        section, _, rest = path.partition(".")
        if section == "features":
            key, _, name = rest.partition(".")
            features[key][name] = value
        elif section == "strategy":
            spec = replace(spec, strategy_params={**spec.strategy_params, rest: value})
        elif section == "sizer":
            spec = replace(spec, sizer_params={**spec.sizer_params, rest: value})
        elif section == "exits":
            exits = replace(exits or Exits(), **{rest: value})
        elif section == "costs":
            costs = replace(costs, **{rest: value})
        elif section == "margin":
            margin = replace(margin, **{rest: value})
        else:
            latency = value
    decisions = bars
    if spec.decision_interval != spec.base_interval:
        decisions = resample(bars, spec.base_interval, spec.decision_interval)
    table = FeatureSet(features, timeframe=spec.decision_interval).batch(decisions)
    columns = [c for c in table.columns if c != "ts"]
    rule = DecisionRule(spec, columns)
    matrix = table.select(columns).to_numpy()
    exposure = rule.decide(matrix, np.full(table.height, np.nan))[1]
    per = bars.height // decisions.height

    def at_closes(values):
        found = np.full(bars.height, np.nan)
        found[per - 1 : per * decisions.height : per] = values
        return found

    read = {}
    for role, name in settings.pop("columns", {}).items():
        read[role] = at_closes(table[name].to_numpy())
    return simulate(
        bars, at_closes(exposure), instrument=SOL, costs=costs, margin=margin, exits=exits, latency_bars=latency,
        gaps="hold", **read, **settings,
    )  # fmt: skip


def agree(row, figures, but=()):
    """Compare a row of a sweep with the metrics of its backtest, under every name that both have."""
    names = [name for name in row if name in figures and name not in but]
    assert len(names) >= 30
    for name in names:
        mine, other = row[name], figures[name]
        if math.isnan(other) or math.isinf(other):
            assert str(mine) == str(other), name
        else:
            assert mine == pytest.approx(other, rel=1e-9, abs=1e-9), name


LADDER = ((0.01, 0.4), (0.02, 0.3))
BY_ATR = Exits(stop_distance=2.0, stop_unit="unit", trail="unit", trail_distance=3.0)
GRIDS = {
    "features and rules": (
        {"features.fast.length": [5, 20], "features.slow.length": [50, 90], "strategy.allow_short": [0, 1]},
        {},
    ),
    "costs, latency and size": (
        {"costs.slippage_bps": [0.0, 5.0], "latency_bars": [0, 2], "sizer.exposure": [0.3, 0.9]},
        {},
    ),
    "exits": (
        {"exits.stop_distance": [0.004, 0.02], "exits.take_profits": [LADDER, ()], "exits.time_stop_bars": [0, 45]},
        {},
    ),
    "trailing": (
        {"exits.trail_distance": [1.5, 4.0], "exits.stop_distance": [2.0, 5.0], "features.atr.length": [14, 30]},
        {"exits": BY_ATR, "columns": {"unit": "atr"}},
    ),
    "trailing levels": (
        {"exits.stop_distance": [0.002, 0.03]},
        {"exits": Exits(trail="level"), "columns": {"trail_low": "psar.level", "trail_high": "psar.level"}},
    ),
    "margin": (
        {"margin.leverage": [2.0, 20.0], "sizer.exposure": [1.5, 10.0]},
        {"margin": Margin("isolated"), "max_leverage": 12.0},
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_row_is_the_backtest_of_its_parameters(name):
    grid, settings = GRIDS[name]
    bars, rows = market(), funding()
    columns = settings.get("columns", {})
    if "trail_low" in columns:
        outputs = FeatureSet(SPEC.features, timeframe="1m").columns
        level = next(c for c in outputs if c.startswith("psar"))
        settings = {**settings, "columns": dict.fromkeys(columns, level)}
    given = {key: value for key, value in settings.items() if key != "columns"}
    table = sweep(
        bars, SPEC, grid, instrument=SOL, funding=rows, threads=2, block=1_000, **{"costs": COSTS, **given},
        **settings.get("columns", {}),
    )  # fmt: skip
    combinations = rows_of(grid)
    assert table.height == len(combinations)
    assert table["fills"].max() > 0
    assert len(set(table["final_equity"])) > 1
    for params, row in zip(combinations, table.iter_rows(named=True), strict=True):
        result = backtest(bars, params, funding=rows, **settings)
        agree(row, result.metrics())


def test_decisions_on_longer_bars_act_at_their_closes():
    bars, rows = market(), funding()
    spec = replace(SPEC, decision_interval="5m")
    grid = {"features.fast.length": [5, 12], "strategy.allow_short": [0, 1]}
    table = sweep(bars, spec, grid, instrument=SOL, costs=COSTS, funding=rows, block=777)
    for params, row in zip(rows_of(grid), table.iter_rows(named=True), strict=True):
        agree(row, backtest(bars, params, funding=rows, spec=spec).metrics())


def test_blocks_threads_and_streams_change_no_bit():
    bars, rows = market(), funding()
    grid = {"features.fast.length": [5, 10, 20], "exits.stop_distance": [0.01, 0.02], "latency_bars": [0, 1]}
    settings = {"instrument": SOL, "costs": COSTS, "funding": rows, "daily": True}
    whole = Sweep(bars, SPEC, grid, threads=1, block=bars.height, **settings).run()
    for block, threads in ((64, 2), (1_000, 3), (4_096, 1)):
        cut = Sweep(bars, SPEC, grid, threads=threads, block=block, **settings).run()
        assert cut.table.equals(whole.table)
        assert cut.daily.equals(whole.daily)
    stream = blocks_on_clock((bars.slice(k, 1_700) for k in range(0, bars.height, 1_700)), "1m")
    streamed = Sweep(stream, SPEC, grid, threads=2, **settings).run()
    assert streamed.table.equals(whole.table)
    assert streamed.daily.equals(whole.daily)


def test_daily_returns_are_those_of_the_backtest():
    bars = market()
    found = Sweep(bars, SPEC, {"sizer.exposure": [0.2, 0.8]}, instrument=SOL, costs=COSTS, daily=True).run()
    assert found.daily["day"].to_list() == sorted(set(bars["ts"].dt.date().to_list()))
    for k, exposure in enumerate((0.2, 0.8)):
        result = backtest(bars, {"sizer.exposure": exposure})
        np.testing.assert_allclose(found.daily[str(k)].to_numpy(), result.daily_returns, rtol=1e-12, atol=1e-15)
    assert set(found.to_files()) == {"table.parquet", "daily.parquet"}


def test_a_gap_keeps_the_last_close_and_nothing_fills_in_it():
    bars = market()
    prices = ["open", "high", "low", "close"]
    holes = pl.int_range(pl.len()).is_in([500, 501, 502, 3_000, 7_777])
    bars = bars.with_columns(pl.when(holes).then(float("nan")).otherwise(pl.col(c)).alias(c) for c in prices)
    grid = {"features.fast.length": [5, 20]}
    table = sweep(bars, SPEC, grid, instrument=SOL, costs=COSTS, block=512)
    for params, row in zip(rows_of(grid), table.iter_rows(named=True), strict=True):
        agree(row, backtest(bars, params).metrics())


def test_equal_features_and_rules_are_worked_out_once():
    grid = {"features.fast.length": [5, 10], "exits.stop_distance": [0.01, 0.02, 0.03]}
    prepared = Sweep(market(), SPEC, grid, instrument=SOL)
    plan = prepared.plan()
    assert (plan.combinations, plan.decisions) == (6, 2)
    assert plan.features == len(FeatureSet(SPEC.features).columns) + 1
    assert plan.bars == 12_000
    assert plan.seconds > 0.0
    assert plan.memory_mb > 0.0
    assert "6 combinations" in str(plan)


def test_a_feature_of_a_varied_feature_follows_it():
    spec = replace(
        SPEC,
        features={
            **SPEC.features,
            "smooth": {"feature": "zscore", "of": "fast", "length": 20},
            "zero": {"feature": "zscore", "length": 20},
        },
        strategy_inputs={"fast": "smooth", "slow": "zero"},
    )
    bars = market(4_000)
    table = sweep(bars, spec, {"features.fast.length": [5, 40]}, instrument=SOL, costs=COSTS)
    for length, row in zip((5, 40), table.iter_rows(named=True), strict=True):
        alone = replace(spec, features={**spec.features, "fast": {"feature": "sma", "length": length}})
        (other,) = sweep(bars, alone, {"latency_bars": [0]}, instrument=SOL, costs=COSTS).iter_rows(named=True)
        assert row["final_equity"] == other["final_equity"]
    assert table["final_equity"][0] != table["final_equity"][1]


class Memory:
    """A checkpoint in memory."""

    def __init__(self):
        self.state = None

    def load(self):
        return self.state

    def save(self, state):
        self.state = state


class Killed(BaseException):
    pass


def test_a_sweep_that_was_stopped_goes_on_to_the_same_bits():
    bars, rows = market(), funding()
    spec = replace(SPEC, decision_interval="5m")
    grid = {"features.fast.length": [5, 12], "exits.stop_distance": [0.01, 0.02]}
    settings = {"instrument": SOL, "costs": COSTS, "funding": rows, "daily": True, "block": 1_001}
    whole = Sweep(bars, spec, grid, **settings).run()

    class Breaking(Memory):
        def save(self, state):
            super().save(state)
            raise Killed

    kept = Memory()
    for _ in range(4):
        breaking = Breaking()
        breaking.state = kept.state
        with pytest.raises(Killed):
            Sweep(bars, spec, grid, **settings).run(checkpoint=breaking, checkpoint_seconds=0.0)
        kept.state = breaking.state
    resumed = Sweep(bars, spec, grid, **settings).run(checkpoint=kept)
    assert resumed.table.equals(whole.table)
    assert resumed.daily.equals(whole.daily)
    with pytest.raises(FingerprintMismatch, match="another sweep"):
        Sweep(bars, spec, {**grid, "latency_bars": [1]}, **settings).run(checkpoint=kept)
    kept.state = b"nothing"
    with pytest.raises(InvalidInput, match="checkpoint must be one of a sweep"):
        Sweep(bars, spec, grid, **settings).run(checkpoint=kept)


@pytest.mark.slow
def test_a_killed_process_loses_no_more_than_its_last_half_minute(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from research.backtest import Sweep
        from pipelines.checkpoint import FileCheckpoint
        from tests.test_research.test_sweep import COSTS, SOL, SPEC, funding, market
        grid = {"features.fast.length": [5, 9, 12], "exits.stop_distance": [0.01, 0.02]}
        found = Sweep(market(), SPEC, grid, instrument=SOL, costs=COSTS, funding=funding(), block=150)
        found.run(checkpoint=FileCheckpoint(sys.argv[1]), checkpoint_seconds=0.0).table.write_parquet(sys.argv[2])
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(state, table):
        return subprocess.Popen([sys.executable, "-c", program, str(state), str(table)], env=environment, cwd=ROOT)

    assert start(tmp_path / "a.npz", tmp_path / "a.parquet").wait(timeout=120) == 0
    for _ in range(4):
        running = start(tmp_path / "b.npz", tmp_path / "b.parquet")
        for _ in range(4_000):
            time.sleep(0.005)
            if (tmp_path / "b.npz").exists() or running.poll() is not None:
                break
        time.sleep(0.03)
        running.kill()
        running.wait()
    assert start(tmp_path / "b.npz", tmp_path / "b.parquet").wait(timeout=120) == 0
    assert pl.read_parquet(tmp_path / "b.parquet").equals(pl.read_parquet(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"features.quick.length": [5]}, "grid.features.quick.length must be features.KEY.PARAM"),
        ({"features.fast.size": [5]}, "fast: sma.size is not a parameter"),
        ({"strategy.speed": [5]}, "crossover.speed is not a parameter"),
        ({"exits.stop": [5]}, "grid.exits.stop is not a field"),
        ({"exits.stop_distance": [-1.0]}, "exits.stop_distance must be positive"),
        ({"speed": [5]}, "grid.speed must be latency_bars, or begin with"),
        ({"latency_bars": []}, "grid.latency_bars must be a list of at least one value"),
        ({"latency_bars": [-1]}, "account.latency_bars must be a whole number"),
        ([{"latency_bars": 1}, {"strategy.allow_short": 1}], r"grid\[1\] must set the same parameters"),
        ([], "grid must name at least one parameter"),
        ({"exits.stop_unit": ["unit"], "exits.stop_distance": [1.0]}, "sweep.unit is required"),
    ],
)
def test_what_a_grid_cannot_mean_is_refused_by_its_path(grid, message):
    with pytest.raises(InvalidInput, match=message):
        Sweep(market(500), SPEC, grid, instrument=SOL).run()


def test_bars_and_funding_that_cannot_be_swept_are_refused():
    bars, grid = market(2_000), {"latency_bars": [0]}
    with pytest.raises(MisalignedBars, match=r"sweep\.bars\.ts"):
        Sweep(bars[::2], SPEC, grid, instrument=SOL).run()
    with pytest.raises(MisalignedBars, match="must go on at"):
        Sweep([bars[:100], bars[200:300]], SPEC, grid, instrument=SOL).run()
    with pytest.raises(FundingHole):
        Sweep(bars, SPEC, grid, instrument=SOL, funding=funding()[:2]).run()
    with pytest.raises(InvalidInput, match="must have at least 2 rows"):
        Sweep(bars[:1], SPEC, grid, instrument=SOL).run()
    with pytest.raises(InvalidInput, match="to be planned"):
        Sweep(iter([bars]), SPEC, grid, instrument=SOL).plan()


def test_rows_may_be_given_as_a_frame():
    frame = pl.DataFrame({"features.fast.length": [5, 20], "sizer.exposure": [0.3, 0.6]})
    table = sweep(market(3_000), SPEC, frame, instrument=SOL)
    assert table.select(frame.columns).equals(frame)
