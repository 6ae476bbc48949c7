"""Stage monte_carlo: what it runs without randomness is the hold-out itself, and its figures are those of its paths."""

import math
import shutil

import numpy as np
import polars as pl
import pytest

from pipelines import monte_carlo
from pipelines.workspace import Workspace
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE
from research.validation.replayed_execution import ExecutionRandomness, ReplayedExecution
from research.validation.resampling import METHODS, resample_trades

FOLDER = "data/monte_carlo"


def quantiles(workspace, **where):
    return workspace.read_frame(f"{FOLDER}/quantiles.parquet").filter(**where)


def level(values, share):
    """Return the smallest value that a share of the values does not exceed."""
    return np.sort(values)[max(math.ceil(share * len(values)) - 1, 0)]


@pytest.fixture
def copied(small_build, tmp_path):
    """What the stage reads, in a folder that a test may change."""
    params, workspace = small_build
    for folder in ("data/clean", "data/backtest", "data/walk_forward"):
        shutil.copytree(workspace.root / folder, tmp_path / folder)
    return params, Workspace(tmp_path)


def test_without_randomness_the_orders_are_the_backtest_to_the_bit(small_build):
    _, workspace = small_build
    told = quantiles(workspace, method="replayed_execution").select("statistic", "observed")
    observed, backtest = dict(told.iter_rows()), workspace.read_json("data/reports/backtest.json")
    backtest["total"] = backtest["total_return"]
    for name in ("total", "profit_factor", "fees", "funding", "slippage", "fills", "trades"):
        assert observed[name] == pytest.approx(backtest[name], rel=1e-9), name  # sums in another order
    assert observed["final_equity"] == backtest["final_equity"]


def test_the_figures_are_those_of_the_paths(small_build):
    params, workspace = small_build
    figures = workspace.read_json("data/reports/monte_carlo.json")
    returns = monte_carlo.trade_returns(workspace)
    report = resample_trades(returns, paths=200, seed=params.seed, methods=("block", "shuffle"))
    totals, depths = (report["block"].paths[name].to_numpy() for name in ("total", "max_drawdown"))
    assert figures["closed_trade_return_p05"] == level(totals, 0.05)
    assert figures["closed_trade_drawdown_p05"] == level(depths, 0.05)
    assert level(depths, 0.05) != level(report["shuffle"].paths["max_drawdown"].to_numpy(), 0.05)
    assert figures["closed_trade_loss_probability"] == (totals <= 0.0).mean()
    assert figures["block_trades"] == report.block
    kept = workspace.read_frame(f"{FOLDER}/paths.parquet")
    assert kept["closed_trade_return"].to_numpy() == pytest.approx(totals, rel=1e-6)  # kept in single precision
    assert kept["closed_trade_drawdown"].to_numpy() == pytest.approx(depths, rel=1e-6)
    assert figures["execution_return_p05"] == pytest.approx(level(kept["execution_return"].to_numpy(), 0.05), rel=1e-6)
    assert figures["execution_drawdown_p01"] == pytest.approx(
        level(kept["execution_drawdown"].to_numpy(), 0.01), rel=1e-6
    )
    row = quantiles(workspace, method="replayed_execution", statistic="sharpe").row(0, named=True)
    assert figures["execution_sharpe_p025"] == row["low95"] * math.sqrt(365)
    assert figures["execution_ruin_probability"] == row["ruin_probability"] == 0.0
    assert figures["execution_paths"] == kept.height == 200


def test_every_interval_says_what_it_stands_for(small_build):
    _, workspace = small_build
    table = quantiles(workspace)
    assert table["method"].unique(maintain_order=True).to_list() == [*METHODS, "replayed_execution"]
    assert (table["stands_for"] != "").to_list() == (table["note"] == "").to_list()
    told = table.filter(method="replayed_execution")["stands_for"].unique().to_list()
    assert told == [
        "delay of 0 to 2 bars, slippage (lognormal, deviation of the log 0.5), partial fills (probability 0.1, the "
        "rest: carry), missed fills (1 %), start at one of the first 5 % of decisions"
    ]
    assert set(table.filter(pl.col("method") != "replayed_execution")["unit"]) == {"trade"}


def test_fans_begin_at_one_and_hold_what_was_observed(small_build):
    params, workspace = small_build
    equity = workspace.read_frame("data/backtest/equity.parquet")["equity"]
    returns = monte_carlo.trade_returns(workspace)
    ends = {
        "trades": ("trade", returns.size, np.prod(1.0 + returns)),
        "execution": ("day", 20, equity[-1] / params.costs.initial_cash_quote),
    }
    for name, (unit, last, end) in ends.items():
        fan = workspace.read_frame(f"{FOLDER}/fan_{name}.parquet")
        assert fan[unit][-1] == last
        assert set(fan.drop(unit).row(0)) == {1.0}
        assert fan["observed"][-1] == pytest.approx(end, rel=1e-12)
        assert (fan["q0.5"] <= fan["q50"]).all()
        assert (fan["q50"] <= fan["q99.5"]).all()
        assert fan["q0.5"][-1] < fan["q99.5"][-1]


def test_the_same_input_gives_the_same_bytes(small_build, copied):
    _, workspace = small_build
    params, other = copied
    monte_carlo.run(params, other)
    names = [f"{FOLDER}/{path.name}" for path in sorted((other.root / FOLDER).iterdir())]
    assert len(names) == 5
    for name in (*names, "data/reports/monte_carlo.json", "data/reports/monte_carlo.csv"):
        assert other.read_bytes(name) == workspace.read_bytes(name), name


def test_a_gap_in_the_hold_out_is_replayed_by_whole_backtests(copied):
    params, other = copied
    bars = other.clean.bars("simulated", "linear", "SOLUSDT", "1m")
    start = other.read_json("data/backtest/window.json")["start_ns"]
    gap = pl.col("ts").to_physical().is_between(start + NS_PER_DAY, start + NS_PER_DAY + 20 * NS_PER_MINUTE)
    shutil.rmtree(other.root / "data/clean/venue=simulated/market=linear/symbol=SOLUSDT/kind=bars")
    other.clean.write(bars.filter(~gap), "simulated", "linear", "SOLUSDT", "bars", "1m")
    told = monte_carlo.holdout_run(params, other)
    assert told["bars"]["close"].is_nan().sum() == 21
    monte_carlo.run(params, other)
    figures = other.read_json("data/reports/monte_carlo.json")
    assert figures["execution_is_replayed_by_order"] == 0.0
    assert figures["execution_paths"] == 20
    assert all(figures[name] is not None for name in figures if name.startswith("execution_"))
    assert quantiles(other, method="replayed_account", statistic="total")["observed"].is_finite().all()
    assert other.read_frame(f"{FOLDER}/paths.parquet")["execution_return"].null_count() == 180  # 20 of 200


def test_a_hold_out_without_a_position_leaves_its_figures_unknown(copied):
    params, other = copied
    name = "data/backtest/decisions.parquet"
    other.write_frame(name, other.read_frame(name).with_columns(exposure=0.0))
    told = monte_carlo.execution(params, other)
    figures = monte_carlo.execution_figures(told, 0.5)
    assert math.isnan(figures["execution_sharpe_p025"])
    assert figures["execution_return_p05"] == figures["execution_drawdown_p01"] == 0.0
    assert figures["execution_loss_probability"] == 1.0


def test_the_orders_are_drawn_from_the_stage_s_own_parameters(small_build):
    params, workspace = small_build
    told = monte_carlo.holdout_run(params, workspace)
    alone = ReplayedExecution(**told).paths(ExecutionRandomness(miss_probability=0.2), paths=100, seed=params.seed)
    changed = params.monte_carlo.execution.model_copy(
        update={"delay_probabilities": [1.0], "slippage_log_sd": 0.0, "partial_probability": 0.0,
                "miss_probability": 0.2, "start_frac": 0.0}
    )  # fmt: skip
    section = params.monte_carlo.model_copy(update={"execution": changed, "paths": 100})
    found = monte_carlo.execution(params.model_copy(update={"monte_carlo": section}), workspace)
    assert found.paths.equals(alone.paths)
    assert found.paths["missed"].sum() > 0
