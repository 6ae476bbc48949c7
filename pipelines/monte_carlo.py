"""Stage ``monte_carlo``: what else the out-of-sample trades could have come to. It resamples; it predicts nothing.

Its figures are of **closed trades**, those of the walk-forward's tests and of the hold-out as one sample: a drawdown
among them steps from exit to exit and sees no fall within a trade, as one of equity marked at every bar does.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.market.bars import NS_PER_DAY
from research.validation import MonteCarloResult, monte_carlo

# The names under which statistics of paths are told: of closed trades, not of an equity curve.
NAMES = {"total": "closed_trade_return", "max_drawdown": "closed_trade_drawdown"}


def run(params: Params, workspace: Workspace) -> None:
    """Resample the trades of walk-forward and hold-out, with replacement for intervals and shuffled for drawdown."""
    settings = params.monte_carlo
    returns = np.concatenate(
        [
            workspace.read_frame(f"data/{stage}/trades.parquet")["return_on_equity_frac"].to_numpy()
            for stage in ("walk_forward", "backtest")
        ]
    )
    figures: dict[str, float | None] = {
        "trades": float(returns.size), "days": _days(workspace), "paths": float(settings.paths)
    }  # fmt: skip
    observed: dict[str, float] = {}
    tables, paths = [], pl.DataFrame(schema={"method": pl.String} | dict.fromkeys(NAMES.values(), pl.Float64))
    if returns.size > max(2, settings.block):  # too few trades: the figures stay unknown, and the gate refuses
        results = {
            method: monte_carlo(returns, paths=settings.paths, block=settings.block, seed=params.seed, method=method)
            for method in ("bootstrap", "shuffle")
        }
        figures |= _figures(results, settings.drawdown_limit_frac)
        observed = {told: results["bootstrap"].observed[name] for name, told in NAMES.items()}
        named = pl.col("statistic").replace(NAMES)
        tables = [
            r.table().select(pl.lit(m).alias("method"), named, pl.exclude("statistic")) for m, r in results.items()
        ]
        kept = [pl.col(name).alias(told) for name, told in NAMES.items()]
        paths = pl.concat([r.paths.select(pl.lit(m).alias("method"), *kept) for m, r in results.items()])
    workspace.write_frame("data/monte_carlo/paths.parquet", paths)
    workspace.write_frame("data/monte_carlo/quantiles.parquet", pl.concat(tables) if tables else pl.DataFrame())
    workspace.write_json("data/monte_carlo/observed.json", observed)
    workspace.write_json(f"{REPORTS}/monte_carlo.json", figures)
    workspace.write_frame(f"{REPORTS}/monte_carlo.csv", _histogram(paths))


def _days(workspace: Workspace) -> float:
    """Return the days that the trades were made in: the stitched tests and the hold-out, which do not overlap."""
    window = workspace.read_json("data/backtest/window.json")
    folds = workspace.read_frame("data/walk_forward/folds.parquet")["days"]
    return float(folds.sum()) + (window["end_ns"] - window["start_ns"]) / NS_PER_DAY


def _figures(results: dict[str, MonteCarloResult], limit: float) -> dict[str, float]:
    bootstrap, shuffle = results["bootstrap"], results["shuffle"]
    low, high = bootstrap.interval("total", 0.90)
    factor_low, factor_high = bootstrap.interval("profit_factor", 0.90)
    return {
        "closed_trade_return_p05": low,
        "closed_trade_return_p95": high,
        "closed_trade_profit_factor_p05": factor_low,
        "closed_trade_profit_factor_p95": factor_high,
        "closed_trade_loss_probability": float((bootstrap.paths["total"].to_numpy() <= 0.0).mean()),
        # Of the same trades in another order: the total is theirs, only the way there differs.
        "closed_trade_drawdown_p05": shuffle.interval("max_drawdown", 0.90)[0],
        "closed_trade_drawdown_probability": shuffle.probability_of_drawdown(limit),
    }


def _histogram(paths: pl.DataFrame) -> pl.DataFrame:
    """Return counts of final returns of the bootstrap, for ``dvc plots``."""
    totals = paths.filter(pl.col("method") == "bootstrap")[NAMES["total"]].to_numpy()
    if not totals.size:
        return pl.DataFrame(schema={"final_return": pl.Float64, "paths": pl.Int64})
    counts, edges = np.histogram(totals, bins=40)
    return pl.DataFrame({"final_return": (edges[:-1] + edges[1:]) / 2.0, "paths": counts})


if __name__ == "__main__":
    stage_main(run)
