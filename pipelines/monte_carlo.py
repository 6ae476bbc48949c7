"""Stage ``monte_carlo``: what else the out-of-sample trades, and the hold-out's orders, could have come to.

It predicts nothing. Trades are **closed trades** of the walk-forward's tests and of the hold-out as one sample: a
drawdown among them steps from exit to exit and sees no fall within a trade. Orders are the hold-out's own, executed
again at the prices of another time: their equity is marked at the closes of days and at every fill.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from pipelines.desk import account_settings, costs
from pipelines.params import Params
from pipelines.series import traded_series
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.errors import InvalidInput
from research.kernel import FloatArray
from research.market.bars import NS_PER_DAY, TS, epoch_ns, interval_ns
from research.metrics.returns import DAYS_PER_YEAR
from research.validation.fan import PathsResult, quantile
from research.validation.replayed_account import replay_accounts
from research.validation.replayed_execution import ExecutionRandomness, ReplayedExecution
from research.validation.resampling import ResamplingReport, resample_trades

# Bands of 99, 95 and 50 % around the median: what a figure draws, and no more.
FAN_LEVELS = (0.005, 0.025, 0.25, 0.5, 0.75, 0.975, 0.995)
# What is kept of every path, for the report: name, method and statistic.
KEPT = {
    "closed_trade_return": ("block", "total"), "closed_trade_drawdown": ("block", "max_drawdown"),
    "execution_return": ("execution", "total"), "execution_drawdown": ("execution", "max_drawdown"),
}  # fmt: skip


def run(params: Params, workspace: Workspace) -> None:
    """Write quantiles, fans and figures of resampled trades and of replayed orders."""
    asked, returns = params.monte_carlo, trade_returns(workspace)
    results: dict[str, PathsResult] = {}
    figures: dict[str, float] = {"trades": returns.size, "days": _days(workspace), "paths": asked.paths}
    # Too few trades: their figures stay unknown, and the gate refuses.
    if returns.size > max(2, asked.block or 0):
        report = resample_trades(
            returns, paths=asked.paths, seed=params.seed, block=asked.block, ruin_loss=asked.ruin_loss_frac
        )
        results |= report.results
        figures |= trade_figures(report, asked.drawdown_limit_frac)
    results["execution"] = execution(params, workspace)
    figures |= execution_figures(results["execution"], asked.ruin_loss_frac)
    observed = {
        "trades": lambda at: np.concatenate(([1.0], np.cumprod(1.0 + returns)))[at],
        "execution": lambda at: _days_of_equity(params, workspace)[at],
    }
    tables = [
        r.table().with_columns(unit=pl.lit(r.unit), ruin_probability=r.probability_of_ruin(asked.ruin_loss_frac))
        for r in results.values()
    ]
    workspace.write_frame("data/monte_carlo/quantiles.parquet", pl.concat(tables, how="vertical"))
    fans = {"trades": results.get("block"), "execution": results["execution"]}
    for name, result in fans.items():
        scale = params.costs.initial_cash_quote if name == "execution" else 1.0
        workspace.write_frame(f"data/monte_carlo/fan_{name}.parquet", fan(result, observed[name], scale))
    kept = {name: (results[m], statistic) for name, (m, statistic) in KEPT.items() if m in results}
    workspace.write_frame("data/monte_carlo/paths.parquet", paths_frame(kept))
    workspace.write_json("data/monte_carlo/observed.json", {n: r.observed[s] for n, (r, s) in kept.items()})
    workspace.write_json(f"{REPORTS}/monte_carlo.json", figures)
    workspace.write_frame(f"{REPORTS}/monte_carlo.csv", _histogram(results.get("block")))


def trade_returns(workspace: Workspace) -> FloatArray:
    """Return the closed trades of walk-forward and hold-out, as fractions of the equity before each entry."""
    stages = [workspace.read_frame(f"data/{stage}/trades.parquet") for stage in ("walk_forward", "backtest")]
    return np.concatenate([frame["return_on_equity_frac"].to_numpy() for frame in stages])


def trade_figures(report: ResamplingReport, drawdown_limit_frac: float) -> dict[str, float]:
    """Return the figures of resampled trades, all of blocks.

    Neighbouring trades share a market: drawing them one by one, or in another order, gives the intervals of trades that
    are independent, and breaks up the losing runs that a drawdown is made of.
    """
    block = report["block"]
    low, high = block.interval("total", 0.90)
    factor_low, factor_high = block.interval("profit_factor", 0.90)
    return {
        "block_trades": report.block,
        "closed_trade_return_p05": low,
        "closed_trade_return_p95": high,
        "closed_trade_profit_factor_p05": factor_low,
        "closed_trade_profit_factor_p95": factor_high,
        "closed_trade_loss_probability": float((block.paths["total"].to_numpy() <= 0.0).mean()),
        "closed_trade_ruin_probability": block.probability_of_ruin(report.ruin_loss),
        "closed_trade_drawdown_p05": block.interval("max_drawdown", 0.90)[0],
        "closed_trade_drawdown_probability": block.probability_of_drawdown(drawdown_limit_frac),
    }


def execution(params: Params, workspace: Workspace) -> PathsResult:
    """Return the hold-out's orders executed again: one by one where that is possible, by whole backtests elsewhere."""
    asked = params.monte_carlo
    draws = asked.execution
    randomness = ExecutionRandomness(
        delay_probabilities=tuple(draws.delay_probabilities), slippage_multiple=draws.slippage_multiple,
        slippage_log_sd=draws.slippage_log_sd, partial_probability=draws.partial_probability,
        partial_range=(draws.partial_low, draws.partial_high), miss_probability=draws.miss_probability,
        start_frac=draws.start_frac,
    )  # fmt: skip
    told = holdout_run(params, workspace)
    try:
        return ReplayedExecution(**told).paths(randomness, paths=asked.paths, seed=params.seed)
    except InvalidInput:  # gaps, changed lots, a path that is liquidated; what the account cannot take, it refuses too
        paths = min(asked.paths, asked.account_paths)
        return replay_accounts(**told, gaps="hold", randomness=randomness, paths=paths, seed=params.seed)


def holdout_run(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Return the hold-out as the stage ``backtest`` ran it, as keywords of ``simulate``."""
    bars, mark, funding = traded_series(params, workspace)
    market, start_ns = params.market, workspace.read_json("data/backtest/window.json")["start_ns"]
    is_held_out = pl.col("ts").cast(TS).to_physical() >= start_ns
    bars = bars.filter(is_held_out)
    decisions = workspace.read_frame("data/backtest/decisions.parquet")
    base = interval_ns(market.base_interval)
    # A decision is told by the open of its bar and made at the close of the last base bar in it.
    made = (epoch_ns(decisions) + interval_ns(market.decision_interval) - base - start_ns) // base
    targets = np.full(bars.height, math.nan)
    targets[made] = decisions["exposure"].to_numpy()
    return {
        "bars": bars, "targets": targets, "costs": costs(params), "funding": funding,
        "instrument": workspace.clean.instrument(market.venue, market.market, market.symbol),
        "mark": None if mark is None else mark.filter(is_held_out).head(bars.height), **account_settings(params),
    }  # fmt: skip


def execution_figures(result: PathsResult, ruin_loss: float) -> dict[str, float]:
    """Return the figures of replayed orders; Sharpe ratios are annualised, as those of the backtest are."""
    year = math.sqrt(DAYS_PER_YEAR)
    sharpe_low, sharpe_high = (end * year for end in result.interval("sharpe", 0.95))
    return {
        "execution_paths": result.paths.height,
        "execution_is_replayed_by_order": float(result.method == "replayed_execution"),
        "execution_sharpe_p025": sharpe_low,
        "execution_sharpe_p975": sharpe_high,
        "execution_return_p05": _quantile(result, "total", 0.05),
        "execution_drawdown_p01": _quantile(result, "max_drawdown", 0.01),
        "execution_loss_probability": float((result.paths["total"].to_numpy() <= 0.0).mean()),
        "execution_ruin_probability": result.probability_of_ruin(ruin_loss),
    }


def fan(result: PathsResult | None, observed: Any, scale: float) -> pl.DataFrame:
    """Return quantiles of the equity along the way as growth of 1, and the equity that was observed."""
    if result is None:
        return pl.DataFrame(schema={"at": pl.Int64})
    growth = result.fan(FAN_LEVELS).drop("mean").with_columns(pl.exclude("at") / scale)
    at = result.fan_at.astype(np.int64)
    return growth.with_columns(at=at, observed=observed(at)).rename({"at": result.unit})


def paths_frame(kept: dict[str, tuple[PathsResult, str]]) -> pl.DataFrame:
    """Return one column per statistic, in single precision: a histogram asks for no more. Short ones end in nulls."""
    columns = [r.paths[statistic].cast(pl.Float32).alias(name) for name, (r, statistic) in kept.items()]
    longest = max(len(column) for column in columns)
    return pl.DataFrame([column.extend_constant(None, longest - len(column)) for column in columns])


def _quantile(result: PathsResult, statistic: str, level: float) -> float:
    values = result.paths[statistic].to_numpy()
    return quantile(values[~np.isnan(values)], level)


def _days(workspace: Workspace) -> float:
    """Return the days that the trades were made in: the stitched tests and the hold-out, which do not overlap."""
    window = workspace.read_json("data/backtest/window.json")
    folds = workspace.read_frame("data/walk_forward/folds.parquet")["days"]
    return float(folds.sum()) + (window["end_ns"] - window["start_ns"]) / NS_PER_DAY


def _days_of_equity(params: Params, workspace: Workspace) -> FloatArray:
    """Return the hold-out's equity at its start and at the close of each day, as growth of 1."""
    equity = workspace.read_frame("data/backtest/equity.parquet").sort("ts")
    daily = equity.group_by(pl.col("ts").dt.date(), maintain_order=True).agg(pl.col("equity").last())["equity"]
    return np.concatenate(([1.0], daily.to_numpy() / params.costs.initial_cash_quote))


def _histogram(result: PathsResult | None) -> pl.DataFrame:
    """Return counts of final returns of the block bootstrap, for ``dvc plots``."""
    if result is None:
        return pl.DataFrame(schema={"final_return": pl.Float64, "paths": pl.Int64})
    counts, edges = np.histogram(result.paths["total"].to_numpy(), bins=40)
    return pl.DataFrame({"final_return": (edges[:-1] + edges[1:]) / 2.0, "paths": counts})


if __name__ == "__main__":
    stage_main(run)
