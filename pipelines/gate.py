"""Stage ``gate``: figures against the thresholds of ``params.yaml``. It passes or refuses, and moves nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.params import GateCheck, Params
from pipelines.trial_ledger import all_trials
from pipelines.workspace import REPORTS, Workspace, flat, stage_main
from research.kernel import FloatArray
from research.metrics.inference import deflated_sharpe_ratio, expected_maximum_sharpe, sharpe_moments
from research.metrics.returns import DAYS_PER_YEAR
from research.validation import Check, GateVerdict, evaluate_gate
from research.validation.selection import snooping_figures
from research.validation.trial_ledger import TrialLedger

_DAILY, _LEDGERS = "data/search/daily.parquet", tuple(f"data/{s}/ledger.parquet" for s in ("search", "walk_forward"))
_INTERVALS = "data/backtest/intervals.json"
_STAGES = ("search", "backtest", "walk_forward", "monte_carlo")
_STRESSED = ("stress", "controls")  # judged too, but not where a control is judged: it has none of its own


def run(params: Params, workspace: Workspace) -> None:
    """Write the verdict and its table; a refusal is a result, not a failure of the stage."""
    stages = (*_STAGES, *_STRESSED)
    read = (*(f"{REPORTS}/{stage}.json" for stage in stages), _DAILY, *_LEDGERS, _INTERVALS)
    judged = {name: hashlib.sha256(workspace.read_bytes(name)).hexdigest() for name in read}
    found, figures = judge(params, workspace, params.gate.checks, stages)
    refused = found.table.filter(~found.table["passed"])["check"].to_list()
    selection = {k: v for k, v in figures.items() if k.startswith("selection.")}
    workspace.write_frame(f"{REPORTS}/gate.csv", found.table)
    workspace.write_json(
        f"{REPORTS}/gate.json",
        {"passed": found.passed, "checks": found.table.height, "failed": refused, **selection, "judged": judged},
    )


def judge(
    params: Params, workspace: Workspace, checks: Mapping[str, GateCheck], stages: Sequence[str] = _STAGES
) -> tuple[GateVerdict, dict[str, float]]:
    """Return what checks make of the figures of some stages and of the selection, and those figures."""
    figures = flat({stage: workspace.read_json(f"{REPORTS}/{stage}.json") for stage in stages})
    figures |= selection(params, workspace)
    asked = [Check(name, c.figure, c.op, c.threshold, c.why) for name, c in checks.items()]
    return evaluate_gate(figures, asked, _intervals(workspace)), figures


def selection(params: Params, workspace: Workspace, at_least: int = 0) -> dict[str, float]:
    """Return the figures of the choice among all trials: counted in the ledger, not told by the winner.

    Every trial on the traded market counts: of this build's search and walk-forward, of earlier builds, other parameter
    files, sweeps and notebooks that told the ledger. How far apart ratios without skill lie is the wider of what this
    build's search and what all trials on its days and series say, so that telling near copies lowers no hurdle;
    overfitting and the best are judged among the search's own, which the choice was made of. ``at_least`` is a number
    of trials known from elsewhere.
    """
    known, own = all_trials(params, workspace), TrialLedger(workspace.read_frame(_LEDGERS[0]))
    study = own.frame.row(0, named=True)
    rivals = known.select(data_hash=study["data_hash"], window=study["window"])
    told = max((own, rivals), key=lambda ledger: -1.0 if math.isnan(v := ledger.sharpe_variance()) else v)
    has_returns = ((own.frame["state"] == "complete") & own.frame["returns"].is_not_null()).any()
    tried = own.returns_matrix().values if has_returns else np.empty((0, 0))
    snooped = snooping_figures(tried, seed=params.seed)
    daily, count = workspace.read_frame(_DAILY)["ret"].to_numpy(), max(known.count(), at_least)
    figures = selection_figures(daily, told.sharpes(), count)
    return figures | {f"selection.{name}": value for name, value in snooped.items()}


def _intervals(workspace: Workspace) -> dict[str, tuple[float, float]]:
    """Return the intervals of the hold-out's figures."""
    ends = workspace.read_json(_INTERVALS)
    return {f"backtest.{name}": (_end(low), _end(high)) for name, (low, high) in ends.items()}


def _end(value: float | None) -> float:
    return math.nan if value is None else float(value)


def selection_figures(daily: FloatArray, trial_sharpes: FloatArray, n_trials: int) -> dict[str, float]:
    """Return how far the search's best trial stands above the best of as many skilless ones.

    Parameters
    ----------
    daily : (n_days,) array
        Daily returns of the best trial, on the segments it was chosen on.
    trial_sharpes : (n,) array
        Sharpe ratio per day of every trial on the same days; NaN where it does not exist.
    n_trials : int
        All trials, on other days too: a walk-forward's are of shorter windows, so that the spread of those on the same
        days alone is what the maximum is expected from.

    Returns
    -------
    dict of str to float
        ``selection.trials``, ``.sharpe`` and ``.expected_maximum_sharpe`` (annualised), ``.deflated_sharpe``.
    """
    known = trial_sharpes[np.isfinite(trial_sharpes)]
    missing = float("nan")
    figures = dict.fromkeys(("sharpe", "expected_maximum_sharpe", "deflated_sharpe"), missing)
    if daily.size > 2 and np.ptp(daily) > 0.0 and known.size > 1:
        moments, variance = sharpe_moments(daily), float(known.var(ddof=1))
        year = math.sqrt(DAYS_PER_YEAR)
        figures = {
            "sharpe": moments.sharpe * year,
            "expected_maximum_sharpe": expected_maximum_sharpe(n_trials, variance) * year,
            "deflated_sharpe": deflated_sharpe_ratio(
                moments.sharpe, moments.n_obs, moments.skew, moments.kurtosis, n_trials, variance
            ),
        }
    return {"selection.trials": float(n_trials)} | {f"selection.{k}": v for k, v in figures.items()}


if __name__ == "__main__":
    stage_main(run)
