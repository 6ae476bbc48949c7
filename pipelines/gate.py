"""Stage ``gate``: figures against the thresholds of ``params.yaml``. It passes or refuses, and moves nothing."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from pipelines.params import Params
from pipelines.workspace import REPORTS, Workspace, flat, stage_main
from research.kernel import FloatArray
from research.metrics.inference import deflated_sharpe_ratio, expected_maximum_sharpe, sharpe_moments
from research.metrics.returns import DAYS_PER_YEAR
from research.validation import Check, evaluate_gate
from research.validation.selection import snooping_figures

_DAILY, _TRIALS, _RETURNS = (f"data/search/{name}.parquet" for name in ("daily", "trials", "returns"))
_INTERVALS = "data/backtest/intervals.json"
_STAGES = ("search", "backtest", "walk_forward", "monte_carlo")


def run(params: Params, workspace: Workspace) -> None:
    """Write the verdict and its table; a refusal is a result, not a failure of the stage."""
    read = (*(f"{REPORTS}/{stage}.json" for stage in _STAGES), _DAILY, _TRIALS, _RETURNS, _INTERVALS)
    judged = {name: hashlib.sha256(workspace.read_bytes(name)).hexdigest() for name in read}
    figures = judged_figures(params, workspace)
    checks = [Check(name, c.figure, c.op, c.threshold, c.why) for name, c in params.gate.checks.items()]
    found = evaluate_gate(figures, checks, _intervals(workspace))
    refused = found.table.filter(~found.table["passed"])["check"].to_list()
    selection = {k: v for k, v in figures.items() if k.startswith("selection.")}
    workspace.write_frame(f"{REPORTS}/gate.csv", found.table)
    workspace.write_json(
        f"{REPORTS}/gate.json",
        {"passed": found.passed, "checks": found.table.height, "failed": refused, **selection, "judged": judged},
    )


def judged_figures(params: Params, workspace: Workspace) -> dict[str, float]:
    """Return the figures of search, backtest, walk-forward and Monte Carlo, and of the selection among all trials."""
    figures = flat({stage: workspace.read_json(f"{REPORTS}/{stage}.json") for stage in _STAGES})
    figures |= selection_figures(
        workspace.read_frame(_DAILY)["ret"].to_numpy(),
        workspace.read_frame(_TRIALS)["sharpe_day"].to_numpy(),
        int(figures["search.trials"] + figures["walk_forward.trials"]),
    )
    returns = workspace.read_frame(_RETURNS).drop("day").to_numpy()
    figures |= {f"selection.{name}": value for name, value in snooping_figures(returns, seed=params.seed).items()}
    return figures


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
        Sharpe ratio per day of every trial of the search; NaN where it does not exist.
    n_trials : int
        All trials of this build: those of the walk-forward's searches count too, those of earlier builds and other
        parameter files do not. The walk-forward's ratios are of shorter windows, so that the spread of the search's
        alone is what the maximum is expected from.

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
