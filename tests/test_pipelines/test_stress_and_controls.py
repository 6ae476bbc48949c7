"""Stages stress and controls: what they run is the backtest and the pipeline themselves, on other markets."""

import numpy as np
import polars as pl
import pytest

from pipelines import controls, stress
from pipelines.params import load_params
from pipelines.run import run as run_all
from pipelines.trial_ledger import ledger_folder
from pipelines.workspace import Workspace
from research.errors import InvalidInput


def test_the_unstressed_row_is_the_backtest_to_the_bit(default_build):
    _, workspace = default_build
    plain = workspace.read_frame("data/stress/scenarios.parquet").row(0, named=True)
    backtest = workspace.read_json("data/reports/backtest.json")
    assert plain["scenario"] == "none"
    for name, told in (("net_return", "total_return"), *((n, n) for n in ("sharpe", "max_drawdown", "profit_factor"))):
        assert plain[name] == backtest[told], name
    ladder = workspace.read_frame("data/stress/ladder.parquet")
    usual = ladder.filter((pl.col("assumption") == "slippage_bps") & (pl.col("level") == 1.0))
    assert usual["net_return"].item() == backtest["total_return"]


def test_dearer_scenarios_cost_more_and_leave_the_decisions(default_build):
    _, workspace = default_build
    rows = {r["scenario"]: r for r in workspace.read_frame("data/stress/scenarios.parquet").iter_rows(named=True)}
    for name in ("fees_x2", "slippage_x5", "spread_x5", "funding_spikes"):
        assert rows[name]["net_return"] < rows["none"]["net_return"], name
        assert rows[name]["trades"] == rows["none"]["trades"], name
    told = workspace.read_json("data/reports/stress.json")
    assert told["worst_drawdown"] == min(r["max_drawdown"] for n, r in rows.items() if n != "none")
    assert told["fees_x2"]["net_return"] == rows["fees_x2"]["net_return"]
    assert told["scenarios"] == len(rows) - 1


def test_the_break_even_fee_is_where_the_gain_is_gone(default_build):
    params, workspace = default_build
    from pipelines.desk import open_desk
    from pipelines.holdout import trained_policy
    from research.validation.ladder import assuming

    desk = open_desk(params, workspace)
    market = stress.holdout_market(params, desk)
    warm = workspace.read_bytes("data/backtest/warm_start.bin")
    trade = stress.trader(params, trained_policy(workspace), warm)
    even = workspace.read_json("data/reports/stress.json")["break_even"]["fee_bps"]
    gains = [trade(assuming(market, "fee_bps", even + d)).metrics()["total_return"] for d in (-0.5, 0.5)]
    assert gains[0] > 0.0 > gains[1]


@pytest.mark.parametrize(
    ("override", "subject"),
    [
        ("stress.scenarios.bad={earthquake: {}}", "stress.scenarios.bad.earthquake"),
        ("stress.scenarios.bad={fees: {factor: 0.5}}", "stress.scenarios.bad.fees.factor"),
        ("stress.ladder={moon_bps: [1.0]}", "stress.ladder.moon_bps"),
        ("stress.break_even={moon_bps: 1.0}", "stress.break_even.moon_bps"),
    ],
)
def test_unknown_stresses_are_refused_before_the_first_stage(override, subject, tmp_path):
    with pytest.raises(InvalidInput, match=subject.replace(".", r"\.")):
        run_all(load_params("params.yaml", [override]), Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("stress.scenarios.none={fees: {factor: 2.0}}", "it is a figure's name"),
        ("controls={permuted: 0, noise: 0}", "at least 1 together"),
    ],
)
def test_impossible_sections_are_refused_by_name(override, says):
    with pytest.raises(InvalidInput, match=says):
        load_params("params.yaml", [override])


def test_the_controls_are_refused_by_the_statistics_of_the_trials(default_build):
    _, workspace = default_build
    table = workspace.read_frame("data/controls/controls.parquet")
    assert table["control"].to_list() == ["permuted", "noise"]
    for row in table.iter_rows(named=True):
        assert not row["passed"]
        assert {"deflated_sharpe", "snooping", "walk_forward"} <= set(row["failed"].split(", ")), row
    assert workspace.read_json("data/reports/controls.json")["passed"] == 0


def test_a_control_is_the_market_in_another_order_and_leaves_no_trials(small_build, tmp_path):
    params, workspace = small_build
    market = controls.traded_market(params, workspace)
    control = Workspace(tmp_path)
    controls.write_clean(params, workspace, control, controls.KINDS["permuted"](market, 3))
    where = (params.market.venue, params.market.market, params.market.symbol, params.market.base_interval)
    one, other = (np.diff(np.log(w.clean.bars(*where)["close"].to_numpy())) for w in (workspace, control))
    # The last whole day on: the control begins where the traded series does.
    assert other.size == market.ts.size - 1
    assert not np.array_equal(one[-other.size :], other)
    assert np.allclose(np.sort(one[-other.size :]), np.sort(other), atol=2e-4)  # to ticks
    before = ledger_folder(workspace).read().count()
    controls.run(params, workspace)
    assert ledger_folder(workspace).read().count() == before


def test_a_gate_is_refused_where_a_control_passes(small_build, tmp_path):
    import shutil

    from pipelines import gate

    params, built = small_build
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    workspace = Workspace(tmp_path)
    workspace.write_json(
        "data/reports/controls.json", workspace.read_json("data/reports/controls.json") | {"passed": 1}
    )
    gate.run(params, workspace)
    assert "controls" in workspace.read_json("data/reports/gate.json")["failed"]
    assert "controls" not in built.read_json("data/reports/gate.json")["failed"]
