"""Stage ``monte_carlo``: what else the out-of-sample trades could have come to. It resamples; it predicts nothing."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.validation import MonteCarloResult, monte_carlo


def run(params: Params, workspace: Workspace) -> None:
    """Resample the trades of walk-forward and hold-out, with replacement for intervals and shuffled for drawdown."""
    settings = params.monte_carlo
    returns = np.concatenate(
        [
            workspace.read_frame(f"data/{stage}/trades.parquet")["equity_frac"].to_numpy()
            for stage in ("walk_forward", "backtest")
        ]
    )
    figures: dict[str, float | None] = {"trades": float(returns.size), "paths": float(settings.paths)}
    observed: dict[str, float] = {}
    tables, paths = [], pl.DataFrame(schema={"method": pl.String, "total": pl.Float64, "max_drawdown": pl.Float64})
    if returns.size > max(2, settings.block):  # too few trades: the figures stay unknown, and the gate refuses
        results = {
            method: monte_carlo(returns, paths=settings.paths, block=settings.block, seed=params.seed, method=method)
            for method in ("bootstrap", "shuffle")
        }
        figures |= _figures(results, settings.drawdown_limit_frac)
        seen = results["bootstrap"].observed
        observed = {"total_return": seen["total"], "max_drawdown": seen["max_drawdown"]}
        tables = [r.table().insert_column(0, pl.lit(m).alias("method")) for m, r in results.items()]
        paths = pl.concat(
            [r.paths.select(pl.lit(m).alias("method"), "total", "max_drawdown") for m, r in results.items()]
        )
    workspace.write_frame("data/monte_carlo/paths.parquet", paths)
    workspace.write_frame("data/monte_carlo/quantiles.parquet", pl.concat(tables) if tables else pl.DataFrame())
    workspace.write_json("data/monte_carlo/observed.json", observed)
    workspace.write_json(f"{REPORTS}/monte_carlo.json", figures)
    workspace.write_frame(f"{REPORTS}/monte_carlo.csv", _histogram(paths))


def _figures(results: dict[str, MonteCarloResult], limit: float) -> dict[str, float]:
    bootstrap, shuffle = results["bootstrap"], results["shuffle"]
    low, high = bootstrap.interval("total", 0.90)
    factor_low, factor_high = bootstrap.interval("profit_factor", 0.90)
    return {
        "final_return_p05": low,
        "final_return_p95": high,
        "profit_factor_p05": factor_low,
        "profit_factor_p95": factor_high,
        "shuffled_drawdown_p05": shuffle.interval("max_drawdown", 0.90)[0],
        "probability_of_drawdown": shuffle.probability_of_drawdown(limit),
        "probability_of_loss": float((bootstrap.paths["total"].to_numpy() <= 0.0).mean()),
    }


def _histogram(paths: pl.DataFrame) -> pl.DataFrame:
    """Return counts of final returns of the bootstrap, for ``dvc plots``."""
    totals = paths.filter(pl.col("method") == "bootstrap")["total"].to_numpy()
    if not totals.size:
        return pl.DataFrame(schema={"final_return": pl.Float64, "paths": pl.Int64})
    counts, edges = np.histogram(totals, bins=40)
    return pl.DataFrame({"final_return": (edges[:-1] + edges[1:]) / 2.0, "paths": counts})


if __name__ == "__main__":
    stage_main(run)
