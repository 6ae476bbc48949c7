"""Stage ``backtest``: the trained policy over the hold-out, and its warm states before and after. It tunes nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.desk import account_settings, costs, holdout_start, open_desk
from pipelines.holdout import holdout, trained_policy
from pipelines.params import Params
from pipelines.parity import prove
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.backtest import Leg, Result, simulate
from research.backtest.result import records_frame
from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY, TS, arrays, epoch_ns, interval_ns
from research.market.funding_rows import NS_PER_HOUR
from research.metrics.inference import probabilistic_sharpe_ratio_from_returns
from research.metrics.returns import daily_returns
from research.parity import Comparison
from research.policy import BAR_INPUTS, Decisions, Policy, PolicySpec
from research.validation.intervals import backtest_intervals


def run(params: Params, workspace: Workspace) -> None:
    """Write decisions, orders, fills and equity of the hold-out, and what live must reproduce."""
    desk = open_desk(params, workspace)
    policy = trained_policy(workspace)
    first = holdout_start(params, desk.n_rows)
    start_ns = int(desk.decision_ts[first])
    before, (window, mark) = desk.bars.filter(_ts() < start_ns), holdout(params, desk)
    _push(policy, before)
    warm_start = policy.snapshot()
    decisions = _push(policy, window)
    warm_end = policy.snapshot()
    workspace.write_bytes("data/backtest/warm_start.bin", warm_start)
    workspace.write_bytes("data/backtest/warm_end.bin", warm_end)
    result = simulate(
        window, decisions.exposures_per_bar(window.height), instrument=desk.instrument, costs=costs(params),
        funding=desk.funding, mark=mark, gaps="hold", **account_settings(params),
    )  # fmt: skip
    workspace.write_frame("data/backtest/decisions.parquet", decisions_frame(decisions, policy.columns))
    # In codes, without the pending one: the table that a replay must reproduce.
    workspace.write_frame("data/backtest/ledger_orders.parquet", records_frame(result.ledger.orders))
    fills = records_frame(result.ledger.fills)  # in codes too, as a replay writes them
    for name, frame in (("equity", result.equity), ("fills", fills), ("orders", result.orders)):
        workspace.write_frame(f"data/backtest/{name}.parquet", frame)
    workspace.write_frame("data/backtest/trades.parquet", result.trades)
    workspace.write_json("data/backtest/feature_quantiles.json", _quantiles(desk.features[:first], desk.columns))
    workspace.write_json("data/backtest/window.json", {"start_ns": start_ns, "end_ns": _end(window, policy.spec)})
    leg = Leg(window, desk.instrument, funding=desk.funding, mark=mark)
    proof = prove(
        policy, warm_start, warm_end, leg, costs(params), account_settings(params), decisions, result, params.seed
    )
    workspace.write_frame("data/backtest/parity.parquet", parity_frame(proof))
    differing = float(sum(not table.is_equal for table in proof))
    intervals = holdout_intervals(result, params)
    workspace.write_json("data/backtest/intervals.json", {name: list(ends) for name, ends in intervals.items()})
    workspace.write_json(f"{REPORTS}/backtest.json", _figures(result) | {"parity_differences": differing})
    workspace.write_frame(f"{REPORTS}/equity.csv", hourly(result.equity))


def _figures(result: Result) -> dict[str, float]:
    """Return the result's metrics and its significance."""
    figures = result.metrics()
    returns = daily_returns(result.ts, result.equity["equity"].to_numpy(), result.initial_cash_quote)
    is_flat = returns.size < 3 or float(np.ptp(returns)) == 0.0
    figures["probabilistic_sharpe"] = float("nan") if is_flat else probabilistic_sharpe_ratio_from_returns(returns)
    return figures


def parity_frame(proof: list[Comparison]) -> pl.DataFrame:
    """Return the comparisons as a frame."""
    rows = [
        {"table": c.name, "rows": c.rows, "expected": c.expected, "actual": c.actual, "difference": c.difference}
        for c in proof
    ]
    return pl.DataFrame(rows)


def holdout_intervals(result: Result, params: Params) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the figures of days and trades."""
    returns = daily_returns(result.ts, result.equity["equity"].to_numpy(), result.initial_cash_quote)
    trades = result.trades.sort("exit_ts", maintain_order=True)
    first_day = int(result.ts[0]) // NS_PER_DAY
    exits, entries = (trades[name].cast(TS).to_physical().to_numpy() for name in ("exit_ts", "entry_ts"))
    per_day = np.bincount(exits // NS_PER_DAY - first_day, minlength=returns.size)[: returns.size]
    return backtest_intervals(
        returns, per_day.astype(np.float64), trades["pnl"].to_numpy(), (exits - entries) / NS_PER_HOUR,
        seed=params.seed,
    )  # fmt: skip


def decisions_frame(decisions: Decisions, columns: list[str]) -> pl.DataFrame:
    """Return decisions as a frame: ts, features, score, target, exposure."""
    features = {name: np.ascontiguousarray(decisions.features[:, i]) for i, name in enumerate(columns)}
    frame = pl.DataFrame(
        {
            "ts": decisions.ts,
            **features,
            "score": decisions.score,
            "target": decisions.target,
            "exposure": decisions.exposure,
        }
    )
    return frame.with_columns(pl.col("ts").cast(TS))


def hourly(equity: pl.DataFrame) -> pl.DataFrame:
    """Return the last equity of each hour, for plots."""
    hours = equity.group_by_dynamic("ts", every="1h").agg(pl.col("equity").last())
    return hours.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M"))


def _quantiles(features: FloatArray, columns: list[str]) -> dict[str, list[float]]:
    """Return each feature's deciles before the hold-out: what live compares with to see drift."""
    levels = np.linspace(0.0, 1.0, 11)
    return {c: np.nanquantile(features[:, i], levels).tolist() for i, c in enumerate(columns)}


def _push(policy: Policy, bars: pl.DataFrame) -> Decisions:
    return policy.push(epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True)))


def _ts() -> pl.Expr:
    return pl.col("ts").cast(TS).to_physical()


def _end(window: pl.DataFrame, spec: PolicySpec) -> int:
    return int(epoch_ns(window.tail(1))[0]) + interval_ns(spec.base_interval)


if __name__ == "__main__":
    stage_main(run)
