"""What validation costs, in parts that can be asked for by name, each against another way to the same.

    python -m benchmarks.validation [--markdown] [part ...]

Each part prints one JSON object per line, or a row of a table. Seconds of threads are wall seconds: run it on an idle
machine. Where a peer would take hours it is given a share of the work, and its name says how much was scaled.

monte_carlo   10,000 paths of replayed orders, and resampled trades.
overfitting   CSCV of 2,000 trials, 12,870 splits, against the paper's loop; the two agree.
ratios        PSR and DSR of 2,000 trials against a loop with SciPy's moments.
snooping      SPA and StepM of 200 trials against ``arch``, which is given columns in their own deviations.
bootstrap     Means of stationary bootstrap samples against ``arch``.
splits        Purged combinatorial splits against all pairs of labels.
walk_forward  The stage on a year of one-minute bars decided on five: 35 folds x 200 parameter sets.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers_statistics import (
    EMBARGO,
    N_SPA,
    PATHS,
    SPA_BLOCK,
    SPA_PATHS,
    drawn_labels,
    drawn_trials,
    side_crossovers,
    side_cscv_of_paper,
    side_means_of_arch,
    side_numpy_resampling,
    side_ratios_one_by_one,
    side_spa_of_arch,
    side_splits_by_pairs,
    tested_trials,
    timed,
)
from benchmarks.sides import main, peak_mb, run_side, tell

N_BARS, EVERY = 105_120, 26  # a year of five minutes, a decision every 26 bars: 4,044 orders


def traded_run() -> tuple[Any, np.ndarray, dict[str, Any]]:
    """Return bars, targets and keywords of a perpetual traded 2,022 times in and out, with funding."""
    import polars as pl

    from research.execution import Costs
    from research.market.bars import TS
    from research.market.instruments import sample_instrument

    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.001, N_BARS)))
    opened = np.concatenate(([100.0], close[:-1]))
    ts = pl.Series("ts", 1_704_067_200 * 10**9 + 300 * 10**9 * np.arange(N_BARS)).cast(TS)
    bars = pl.DataFrame(
        {"ts": ts, "open": opened, "high": np.maximum(opened, close) * 1.0005,
         "low": np.minimum(opened, close) * 0.9995, "close": close}
    )  # fmt: skip
    targets = np.full(N_BARS, math.nan)
    targets[::EVERY] = np.resize([0.5, 0.0, -0.5, 0.0], targets[::EVERY].size)
    rates = rng.normal(0.0, 1e-4, ts[::96].len())
    funding = pl.DataFrame({"ts": ts[::96], "rate": rates, "interval_hours": 8.0})
    costs = Costs(half_spread_bps=1.0, slippage_bps=2.0)
    return bars, targets, {"instrument": sample_instrument("SOLUSDT"), "costs": costs, "funding": funding}


# --------------------------------------------------------------------------- one side each, in a process of its own
def side_replay(paths: int, threads: int) -> dict[str, Any]:
    """Replay orders with everything drawn: delay, slippage, partial and missed fills, start."""
    from research.validation.replayed_execution import ExecutionRandomness, ReplayedExecution

    bars, targets, keywords = traded_run()
    run = ReplayedExecution(bars, targets, **keywords)
    drawn = ExecutionRandomness(
        delay_probabilities=(0.6, 0.3, 0.1), slippage_log_sd=0.5, partial_probability=0.1, partial_range=(0.2, 0.9),
        miss_probability=0.02, start_frac=0.1,
    )  # fmt: skip
    run.paths(drawn, paths=64, seed=1, threads=threads)
    wall, busy = timed(lambda: run.paths(drawn, paths=paths, seed=1, threads=threads), 2)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "orders": run.decisions}


def side_backtests(count: int) -> dict[str, Any]:
    """Run whole backtests of the same targets: what a path costs without the order-level replay."""
    from research.backtest import simulate

    bars, targets, keywords = traded_run()
    wall, busy = timed(lambda: [simulate(bars, targets, **keywords) for _ in range(count)], 2)
    return {"wall": wall / count, "busy": busy / count, "peak": peak_mb()}


def side_resampling() -> dict[str, Any]:
    """Bootstrap 2,000 trades into 10,000 paths, with every statistic and a fan."""
    from research.validation.resampling import resample_trades

    trades = np.random.default_rng(1).normal(0.001, 0.02, 2_000)
    wall, busy = timed(lambda: resample_trades(trades, paths=PATHS, seed=1, methods=("bootstrap",)))
    return {"wall": wall, "busy": busy, "peak": peak_mb()}


# --------------------------------------------------------------------------- rows
def run(side: str, *arguments: Any, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what a side found, run in a fresh process."""
    return run_side("benchmarks.validation", side, *arguments, environment=environment)


def part_monte_carlo() -> None:
    """10,000 paths of 4,044 orders on two threads, their memory, and resampled trades."""
    ours, backtest = run("replay", PATHS, 2), run("backtests", 20)
    tell("replay_10000_paths", ours["wall"], backtest["wall"] * PATHS / 2, "as many backtests on two cores", "s",
         ours["peak"], 2.0, is_met=ours["wall"] <= 2.0)  # fmt: skip
    tell("replay_order", ours["busy"] * 1e9 / PATHS / ours["orders"], backtest["busy"] * 1e9 / ours["orders"],
         "a backtest, per order", "ns of processor", ours["peak"], 100.0,
         is_met=ours["busy"] * 1e9 / PATHS / ours["orders"] <= 100.0)  # fmt: skip
    few = run("replay", 1_000, 2)
    tell("replay_memory", ours["peak"], few["peak"], "1,000 paths", "MB", ours["peak"], 0.9)
    mine, peer = run("resampling"), run("numpy_resampling")
    tell("bootstrap_10000_paths", mine["wall"], peer["wall"], "numpy, without fan and time under water", "s",
         mine["peak"], 1.0)  # fmt: skip


# --------------------------------------------------------------------------- overfitting
def side_cscv(n_trials: int) -> dict[str, Any]:
    """Rank the best of each half on the other half."""
    from research.validation.overfitting import probability_of_backtest_overfitting

    returns = drawn_trials(n_trials)
    wall, busy = timed(lambda: probability_of_backtest_overfitting(returns))
    logits = probability_of_backtest_overfitting(returns).logits
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "logits": logits[::64].tolist(), "splits": logits.size}


def part_overfitting() -> None:
    """2,000 trials, 16 blocks."""
    ours, peer = run("cscv", 2_000), run("cscv_of_paper", 2_000, 64)
    tell("cscv_2000x12870", ours["wall"], peer["wall"] * ours["splits"], "numpy as the paper is written, 202 splits",
         "s", ours["peak"], 3.0, is_met=ours["wall"] <= 3.0)  # fmt: skip
    same = np.abs(np.subtract(ours["logits"], peer["logits"])) <= 1e-9
    tell("cscv_agreement", float(same.mean()), None, "the same logits to 1e-9", "share of splits", ours["peak"], 1.0,
         is_met=bool(same.all()))  # fmt: skip


# --------------------------------------------------------------------------- ratios
def side_ratios(n_trials: int) -> dict[str, Any]:
    """Work out PSR and DSR of every trial at once."""
    from research.metrics.sharpe_tests import deflated_sharpe_ratios, probabilistic_sharpe_ratios, trial_moments

    returns = drawn_trials(n_trials)

    def work() -> tuple[Any, Any]:
        moments = trial_moments(returns)
        return probabilistic_sharpe_ratios(moments), deflated_sharpe_ratios(moments)

    wall, busy = timed(work, 5)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "found": np.concatenate(work()).tolist()}


def part_ratios() -> None:
    """2,000 trials of a year."""
    ours, peer = run("ratios", 2_000), run("ratios_one_by_one", 2_000)
    tell("psr_dsr_2000", ours["wall"] * 1e3, peer["wall"] * 1e3, "a loop with scipy.stats", "ms", ours["peak"], 20.0)
    apart = float(np.abs(np.subtract(ours["found"], peer["found"])).max())
    tell(
        "psr_dsr_agreement", apart, None, "largest difference", "probability", ours["peak"], 1e-9, is_met=apart <= 1e-9
    )


# --------------------------------------------------------------------------- snooping and bootstrap
def side_spa(test: str) -> dict[str, Any]:
    """Test 200 trials."""
    from research.validation.snooping import superior_predictive_ability, superior_trials

    returns = tested_trials(test)
    settings = {"block": SPA_BLOCK, "paths": SPA_PATHS, "seed": 1}
    if test == "spa":
        wall, busy = timed(lambda: superior_predictive_ability(returns, **settings))
        found = [superior_predictive_ability(returns, **settings).consistent]
    else:
        wall, busy = timed(lambda: superior_trials(returns, **settings))
        found = superior_trials(returns, **settings).tolist()
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "found": found}


def part_snooping() -> None:
    """5,000 samples."""
    for test, told in (("spa", "SPA"), ("stepm", "StepM")):
        ours, peer = run("spa", test), run("spa_of_arch", test)
        tell(f"{test}_200x5000", ours["wall"], peer["wall"], f"arch {told}, columns scaled", "s", ours["peak"], 2.0)
        same = abs(ours["found"][0] - peer["found"][0]) <= 0.01 if test == "spa" else ours["found"] == peer["found"]
        tell(f"{test}_agreement", float(same), None, f"arch {told}: p to 0.01, or the same trials", "truth",
             ours["peak"], 1.0, is_met=bool(same))  # fmt: skip


def side_means(paths: int) -> dict[str, Any]:
    """Resample a year of 200 trials by stationary blocks, means alone."""
    from research.validation.snooping import resampled_means

    returns = drawn_trials(N_SPA)
    wall, busy = timed(lambda: list(resampled_means(returns, SPA_BLOCK, paths, 1)))
    spread = np.concatenate(list(resampled_means(returns, SPA_BLOCK, paths, 1))).std(axis=0)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "spread": spread.tolist()}


def part_bootstrap() -> None:
    """10,000 samples."""
    ours, peer = run("means", PATHS), run("means_of_arch", PATHS)
    tell("stationary_10000x200", ours["wall"], peer["wall"], "arch StationaryBootstrap", "s", ours["peak"], 2.0)
    apart = float(np.abs(np.divide(ours["spread"], peer["spread"]) - 1.0).max())
    tell("stationary_agreement", apart, None, "deviation of a mean, largest relative difference", "share", ours["peak"],
         0.05, is_met=apart <= 0.05)  # fmt: skip


# --------------------------------------------------------------------------- splits
def side_splits() -> dict[str, Any]:
    """Purge and embargo 45 splits of 20,000 labels."""
    from research.validation.purged_splits import combinatorial_purged_splits

    ends = drawn_labels()
    wall, busy = timed(lambda: list(combinatorial_purged_splits(ends, 10, 2, embargo=EMBARGO)))
    sizes = [int(train.sum()) for train, _ in combinatorial_purged_splits(ends, 10, 2, embargo=EMBARGO)]
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "found": sizes}


def part_splits() -> None:
    """10 groups, 2 at a time."""
    ours, peer = run("splits"), run("splits_by_pairs", 9)
    tell("cpcv_20000x45", ours["wall"] * 1e3, peer["wall"] * 45e3, "numpy, all pairs, 9 splits", "ms", ours["peak"],
         100.0)  # fmt: skip
    same = ours["found"][:9] == peer["found"]
    tell("cpcv_agreement", float(same), None, "the same rows", "truth", ours["peak"], 1.0, is_met=same)


# --------------------------------------------------------------------------- walk-forward
N_FOLDS, N_SETS, SEGMENT_DAYS = 35, 200, 45


def side_walk_forward(repeats: int) -> dict[str, Any]:
    """Run the stage on a simulated year: a ruled and a learned candidate, 100 sets each, 90 days, 7 further."""
    import tempfile
    from pathlib import Path

    from pipelines import features, ingest, validate, walk_forward
    from pipelines.params import load_params
    from pipelines.workspace import Workspace

    asked = {"ingest.simulated.days": 366, "backtest.holdout_days": 1}
    few, many = (
        load_params("params.yaml", [f"{name}={value}" for name, value in (asked | {"walk_forward.trials": n}).items()])
        for n in (1, N_SETS // 2)
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for stage in (ingest, validate, features):
            stage.run(many, workspace)
        walk_forward.run(few, workspace)  # compiles
        found = []
        for _ in range(repeats):
            wall, busy = time.perf_counter(), time.process_time()
            walk_forward.run(many, workspace)
            found.append((time.perf_counter() - wall, time.process_time() - busy))
        trials = workspace.read_frame("data/walk_forward/trials.parquet")
    wall, busy = min(found)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "folds": trials["fold"].n_unique(), "trials": trials.height}


def part_walk_forward() -> None:
    """35 folds."""
    from benchmarks.peers_vectorbt import ENVIRONMENT

    ours = run("walk_forward", 2)
    if (ours["folds"], ours["trials"]) != (N_FOLDS, N_FOLDS * N_SETS):
        raise RuntimeError(f"{ours['folds']} folds and {ours['trials']} trials were not asked for")
    peer = run("crossovers", SEGMENT_DAYS * 1_440, N_SETS, environment=ENVIRONMENT)
    tell("walk_forward_35x200", ours["wall"], peer["wall"] * N_FOLDS, "vectorbt, 200 crossovers of a fold, x 35", "s",
         ours["peak"], 60.0, is_met=ours["wall"] <= 60.0)  # fmt: skip
    tell("walk_forward_processor", ours["busy"], peer["busy"] * N_FOLDS, "the same in processor time", "s",
         ours["peak"], 1.0)  # fmt: skip


PARTS: dict[str, Callable[[], None]] = {
    "monte_carlo": part_monte_carlo,
    "overfitting": part_overfitting,
    "ratios": part_ratios,
    "snooping": part_snooping,
    "bootstrap": part_bootstrap,
    "splits": part_splits,
    "walk_forward": part_walk_forward,
}
SIDES: dict[str, Callable[..., dict[str, Any]]] = {
    "replay": side_replay,
    "backtests": side_backtests,
    "resampling": side_resampling,
    "numpy_resampling": side_numpy_resampling,
    "cscv": side_cscv,
    "cscv_of_paper": side_cscv_of_paper,
    "ratios": side_ratios,
    "ratios_one_by_one": side_ratios_one_by_one,
    "spa": side_spa,
    "spa_of_arch": side_spa_of_arch,
    "means": side_means,
    "means_of_arch": side_means_of_arch,
    "splits": side_splits,
    "splits_by_pairs": side_splits_by_pairs,
    "walk_forward": side_walk_forward,
    "crossovers": side_crossovers,
}


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, SIDES)
