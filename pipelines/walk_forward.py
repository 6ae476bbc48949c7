"""Stage ``walk_forward``: search, fit and trade, rolled through the development period. The hold-out stays unseen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from pipelines.desk import candidates, holdout_start, open_desk, rows_per_day
from pipelines.params import Params
from pipelines.trial_ledger import ledger_folder
from pipelines.trials import series_name, told_trials
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.backtest import Result
from research.kernel import FloatArray
from research.market.bars import TS
from research.metrics.drawdown import max_drawdown
from research.metrics.inference import probabilistic_sharpe_ratio_from_returns
from research.metrics.returns import DAYS_PER_YEAR, bar_returns, sharpe, total_return
from research.predictor import Predictor
from research.search.candidates import choose
from research.search.desk import Desk
from research.validation import Fold, WalkForwardResult, walk_forward, walk_forward_folds
from research.validation.efficiency import walk_forward_efficiency
from research.validation.fold_plateaus import fold_plateaus
from research.validation.stability import parameter_stability
from research.validation.stability_summary import stability_figures
from research.validation.trial_ledger import TrialLedger


def run(params: Params, workspace: Workspace) -> None:
    """Write the folds, the stitched out-of-sample returns and every fold's trials, of which the ledger is told."""
    desk = open_desk(params, workspace)
    first, stop = desk.first_row, holdout_start(params, desk.n_rows)
    settings, day = params.walk_forward, rows_per_day(params)
    by_name = {c.name: c for c in candidates(params)}
    series, told = series_name(params, desk.bars, desk.mark, desk.funding), {}
    folds = walk_forward_folds(
        stop - first, settings.train_days * day, settings.test_days * day, step=settings.step_days * day
    )

    def optimise(fold: Fold) -> tuple[dict[str, Any], pl.DataFrame]:
        best = choose(
            desk,
            list(by_name.values()),
            first + fold.train_start,
            first + fold.train_stop,
            trials=settings.trials,
            folds=1,
            sampler=params.search.sampler,
            seed=params.seed + 1_000 * (fold.index + 1),
        )
        told[fold.index] = told_trials(params, desk, series, best.trials, best.returns)
        ledger_folder(workspace).append(told[fold.index])  # fold by fold: a run that is killed has tried what it tried
        return {"candidate": best.candidate.name, "params": best.params, "value": best.value}, best.trials

    def evaluate(choice: Mapping[str, Any], fold: Fold) -> tuple[pl.DataFrame, pl.DataFrame]:
        candidate = by_name[choice["candidate"]]
        begin, end = first + fold.train_start, first + fold.train_stop
        predictor = desk.fit(begin, end) if candidate.is_learned else Predictor.none()
        chosen = choice["params"]
        result = desk.trade(candidate, chosen, predictor, first + fold.test_start, first + fold.test_stop)
        end_ns = desk.decision_ts[first + fold.stitch_stop - 1] + desk.decision_ns
        return _per_decision(result, desk), _trades_within(result, end_ns)

    outcome = walk_forward(folds, optimise, evaluate, progress=True)
    table = _folds_table(outcome, day)
    stability = parameter_stability(chosen_by_candidate(outcome.folds), spaces(params))
    efficiency = walk_forward_efficiency(table["sharpe_in_sample"].to_numpy(), table["sharpe"].to_numpy())
    judged = fold_plateaus(outcome.trials, within=("candidate",))
    ledger = TrialLedger().merge(*(told[fold.index] for fold in folds))
    workspace.write_frame("data/walk_forward/ledger.parquet", ledger.frame)
    workspace.write_frame("data/walk_forward/returns.parquet", outcome.returns)
    workspace.write_frame("data/walk_forward/trials.parquet", outcome.trials)
    workspace.write_frame("data/walk_forward/trades.parquet", pl.concat(outcome.trades.values()))
    workspace.write_frame("data/walk_forward/folds.parquet", table)
    workspace.write_frame("data/walk_forward/stability.parquet", stability)
    workspace.write_frame("data/walk_forward/plateaus.parquet", judged)
    workspace.write_frame(
        f"{REPORTS}/folds.csv", table.select("fold", "candidate", "sharpe_in_sample", "sharpe", "total_return")
    )
    figures = _figures(outcome.returns, outcome.trials.height, day) | stability_figures(stability, efficiency, judged)
    workspace.write_json(f"{REPORTS}/walk_forward.json", figures)


def spaces(params: Params) -> dict[str, Mapping[str, Any]]:
    """Return the space of every searched parameter by ``CANDIDATE.NAME``."""
    return {f"{c.name}.{name}": axis for c in candidates(params) for name, axis in c.space.items()}


def chosen_by_candidate(folds: pl.DataFrame) -> pl.DataFrame:
    """Return the folds with a column ``param.CANDIDATE.NAME`` for each parameter, null where another was chosen."""
    rows = []
    for row in folds.iter_rows(named=True):
        chosen = {f"param.{row['param.candidate']}.{k}": v for k, v in row["param.params"].items() if v is not None}
        kept = ("fold", "train_start", "train_stop", "param.candidate")
        rows.append({name: row[name] for name in kept} | chosen)
    return pl.DataFrame(rows, infer_schema_length=None)


def _per_decision(result: Result, desk: Desk) -> pl.DataFrame:
    """Return the simple return of each decision bar."""
    per_decision = desk.decision_ns // desk.base_ns
    equity = result.equity["equity"].to_numpy()[per_decision - 1 :: per_decision]
    ts = result.equity["ts"][::per_decision]
    return pl.DataFrame({"ts": ts, "ret": bar_returns(equity, float(desk.account["initial_cash_quote"]))})


def _trades_within(result: Result, end_ns: int) -> pl.DataFrame:
    """Return the trades closed before the next fold takes over."""
    return result.trades.filter(pl.col("exit_ts").cast(TS).to_physical() < end_ns)


def _daily(returns: pl.DataFrame) -> FloatArray:
    """Return compounded returns of each UTC day."""
    days = returns.group_by_dynamic("ts", every="1d").agg(((pl.col("ret") + 1.0).product() - 1.0).alias("ret"))
    return days["ret"].to_numpy()


def _folds_table(outcome: WalkForwardResult, rows_per_day: int) -> pl.DataFrame:
    """Return one row per fold: its choice, what it promised and what it did."""
    rows = []
    for part in outcome.returns.partition_by("fold", maintain_order=True):
        daily = _daily(part)
        rows.append(
            {
                "fold": int(part["fold"][0]),
                "start": part["ts"][0].strftime("%Y-%m-%d"),
                "days": len(part) / rows_per_day,
                "sharpe": sharpe(daily, DAYS_PER_YEAR),
                "total_return": total_return(daily),
                "max_drawdown": max_drawdown(np.concatenate(([1.0], np.cumprod(1.0 + part["ret"].to_numpy())))),
            }
        )
    chosen = outcome.folds.select(
        "fold", pl.col("param.candidate").alias("candidate"), pl.col("param.value").alias("sharpe_in_sample")
    )
    return pl.DataFrame(rows).join(chosen, on="fold", how="left", maintain_order="left")


def _figures(returns: pl.DataFrame, trials: int, rows_per_day: int) -> dict[str, float]:
    """Return the stitched figures."""
    daily = _daily(returns)
    return {
        "days": len(returns) / rows_per_day,
        "sharpe": sharpe(daily, DAYS_PER_YEAR),
        "total_return": total_return(daily),
        "max_drawdown": max_drawdown(np.concatenate(([1.0], np.cumprod(1.0 + returns["ret"].to_numpy())))),
        "trials": trials,
        "probabilistic_sharpe": probabilistic_sharpe_ratio_from_returns(daily),
    }


if __name__ == "__main__":
    stage_main(run)
