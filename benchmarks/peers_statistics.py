"""Peers of validation's benchmarks, and what both sides are given: the same statistics by other libraries and loops.

They are sides of ``benchmarks.validation``, which runs each in a process of its own; nothing of ours is measured here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sides import peak_mb

PATHS = 10_000
N_SPA, SPA_PATHS, SPA_BLOCK = 200, 5_000, 7.0
N_LABELS, EMBARGO = 20_000, 50


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Return wall and processor seconds of the fastest of some runs, after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - busy))
    return min(found)


def drawn_trials(n_trials: int) -> np.ndarray:
    """Return a year of daily returns, (365, n_trials), every trial half of one bet."""
    rng = np.random.default_rng(3)
    return 0.01 * (rng.standard_normal((365, 1)) + rng.standard_normal((365, n_trials))) / math.sqrt(2.0)


def tested_trials(test: str) -> np.ndarray:
    """Return 200 trials: none with skill for SPA, whose p-value is then no extreme one, and five for StepM."""
    returns = drawn_trials(N_SPA)
    returns[:, :5] += 0.002 * (test == "stepm")
    return returns


def drawn_labels() -> np.ndarray:
    """Return ends of labels of 1 to 48 bars."""
    return np.arange(N_LABELS) + np.random.default_rng(4).integers(1, 49, N_LABELS)


def side_numpy_resampling() -> dict[str, Any]:
    """Do the same with NumPy, a thousand paths at a time: total, Sharpe ratio, profit factor and drawdown alone."""
    trades = np.random.default_rng(1).normal(0.001, 0.02, 2_000)

    def work() -> list[Any]:
        rng, found = np.random.default_rng(1), []
        for _ in range(PATHS // 1_000):
            drawn = rng.choice(trades, (1_000, trades.size))
            equity = np.cumprod(1.0 + drawn, axis=1)
            depth = (equity / np.maximum.accumulate(np.maximum(equity, 1.0), axis=1) - 1.0).min(axis=1)
            factor = np.where(drawn > 0.0, drawn, 0.0).sum(axis=1) / -np.where(drawn < 0.0, drawn, 0.0).sum(axis=1)
            found.append((equity[:, -1], drawn.mean(axis=1) / drawn.std(axis=1, ddof=1), factor, depth))
        return found

    wall, busy = timed(work)
    return {"wall": wall, "busy": busy, "peak": peak_mb()}


def side_cscv_of_paper(n_trials: int, every: int) -> dict[str, Any]:
    """Do it as the paper is written: for each split the matrices of both halves and their ratios."""
    from itertools import combinations

    returns = drawn_trials(n_trials)
    blocks = np.split(returns[returns.shape[0] % 16 :], 16)
    chosen = list(combinations(range(16), 8))[::every]

    def work() -> list[float]:
        found = []
        for inside in chosen:
            trained = np.concatenate([blocks[k] for k in inside])
            tested = np.concatenate([blocks[k] for k in range(16) if k not in inside])
            best = (trained.mean(axis=0) / trained.std(axis=0, ddof=1)).argmax()
            ratios = tested.mean(axis=0) / tested.std(axis=0, ddof=1)
            rank = (ratios <= ratios[best]).sum() / (n_trials + 1)
            found.append(math.log(rank / (1.0 - rank)))
        return found

    wall, busy = timed(work, 2)
    return {"wall": wall / len(chosen), "busy": busy / len(chosen), "peak": peak_mb(), "logits": work()}


def side_ratios_one_by_one(n_trials: int) -> dict[str, Any]:
    """Work them out trial by trial, with SciPy's moments."""
    from scipy.stats import kurtosis, norm, skew

    returns, euler = drawn_trials(n_trials), 0.5772156649015329

    def work() -> list[float]:
        ratios = [column.mean() / column.std(ddof=1) for column in returns.T]
        highest = (1.0 - euler) * norm.ppf(1.0 - 1.0 / n_trials) + euler * norm.ppf(1.0 - 1.0 / (n_trials * math.e))
        found = []
        for benchmark in (0.0, np.std(ratios, ddof=1) * highest):
            for ratio, column in zip(ratios, returns.T, strict=True):
                variance = 1.0 - skew(column) * ratio + (kurtosis(column, fisher=False) - 1.0) / 4.0 * ratio**2
                found.append(float(norm.cdf((ratio - benchmark) * math.sqrt((column.size - 1.0) / variance))))
        return found

    wall, busy = timed(work, 1)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "found": work()}


def side_spa_of_arch(test: str) -> dict[str, Any]:
    """Give ``arch`` the same columns over their deviations: it does not divide by them itself."""
    from arch.bootstrap import SPA, StepM

    from research.validation.snooping import stationary_bootstrap_variance

    returns = tested_trials(test)
    losses = -returns / np.sqrt(365 * stationary_bootstrap_variance(returns, SPA_BLOCK))
    kind = SPA if test == "spa" else StepM

    def work() -> Any:
        made = kind(np.zeros(365), losses, block_size=int(SPA_BLOCK), reps=SPA_PATHS, seed=1)
        made.compute()
        return made

    wall, busy = timed(work, 1)
    made = work()
    found = [float(made.pvalues["consistent"])] if test == "spa" else [int(k) for k in made.superior_models]
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "found": found}


def side_means_of_arch(paths: int) -> dict[str, Any]:
    """Do it with ``arch``."""
    from arch.bootstrap import StationaryBootstrap

    returns = drawn_trials(N_SPA)

    def work() -> Any:
        return StationaryBootstrap(SPA_BLOCK, returns, seed=1).apply(lambda x: x.mean(axis=0), paths)

    wall, busy = timed(work, 1)
    return {"wall": wall, "busy": busy, "peak": peak_mb(), "spread": work().std(axis=0).tolist()}


def side_splits_by_pairs(count: int) -> dict[str, Any]:
    """Hold every row against every test label, a block of rows at a time."""
    from itertools import combinations

    ends, rows = drawn_labels(), np.arange(N_LABELS)
    groups = np.array_split(rows, 10)

    def work() -> list[int]:
        found = []
        for chosen in list(combinations(range(10), 2))[:count]:
            tested = np.concatenate([groups[k] for k in chosen])
            keep = ~np.isin(rows, tested)
            for part in np.array_split(rows, 20):  # 40 MB a comparison
                meets = (part[:, None] <= ends[tested]) & (tested <= ends[part][:, None])
                keep[part] &= ~meets.any(axis=1)
            runs = (
                [np.concatenate([groups[k] for k in chosen])]
                if chosen[1] == chosen[0] + 1
                else [groups[k] for k in chosen]
            )
            for block in runs:
                last = ends[block].max()
                keep &= ~((rows > last) & (rows <= last + EMBARGO))
            found.append(int(rows[keep].sum()))
        return found

    wall, busy = timed(work, 1)
    return {"wall": wall / count, "busy": busy / count, "peak": peak_mb(), "found": work()}


def side_crossovers(n_bars: int, count: int) -> dict[str, Any]:
    """Run vectorbt's 200 crossovers over the bars that one fold's trials are scored on."""
    from benchmarks.peers_vectorbt import vectorbt_crossover

    found = vectorbt_crossover(n_bars, count, repeats=3)
    return {"wall": found.best_seconds, "busy": min(found.cpu_seconds), "peak": found.peak_mb}
