"""Stage ``search``: every candidate's parameters, tried on the development period alone. It never sees the hold-out."""

from __future__ import annotations

import polars as pl

from pipelines.checks import check_candidates
from pipelines.desk import candidates, holdout_start, open_desk
from pipelines.params import Params
from pipelines.trial_ledger import ledger_folder
from pipelines.trials import series_name, told_trials
from pipelines.workspace import REPORTS, Workspace, stage_main
from research.search.candidates import choose


def run(params: Params, workspace: Workspace) -> None:
    """Write every trial, tell the ledger of all of them, and write the best one."""
    check_candidates(params)
    desk = open_desk(params, workspace)
    search = params.search
    best = choose(
        desk, candidates(params), desk.first_row, holdout_start(params, desk.n_rows),
        trials=search.trials, folds=search.folds, sampler=search.sampler, seed=params.seed, progress=True,
    )  # fmt: skip
    series = series_name(params, desk.bars, desk.mark, desk.funding)
    ledger = told_trials(params, desk, series, best.trials, best.returns)
    ledger_folder(workspace).append(ledger)  # before anything of it can be read
    workspace.write_frame("data/search/ledger.parquet", ledger.frame)
    workspace.write_frame("data/search/trials.parquet", best.trials)
    workspace.write_frame("data/search/daily.parquet", pl.DataFrame({"ret": best.daily}))
    workspace.write_frame("data/search/returns.parquet", best.returns)
    workspace.write_json("data/search/choice.json", {"candidate": best.candidate.name, "params": best.params})
    figures = {"trials": best.trials.height, "best_sharpe_in_sample": best.value, "candidate": best.candidate.name}
    workspace.write_json(f"{REPORTS}/search.json", figures)
    workspace.write_frame(
        f"{REPORTS}/trials.csv", best.trials.select("candidate", "value").with_row_index("trial").fill_nan(None)
    )


if __name__ == "__main__":
    stage_main(run)
