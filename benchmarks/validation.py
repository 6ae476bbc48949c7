"""What validation costs, in parts that can be asked for by name: Monte Carlo against the ways it would be done without.

    python -m benchmarks.validation [part ...]

Each part prints one JSON object per line. Seconds of threads are wall seconds: run it on an idle machine.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.sides import main, peak_mb, run_side, tell

N_BARS, EVERY, PATHS = 105_120, 26, 10_000  # a year of five minutes, a decision every 26 bars: 4,044 orders


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Return wall and processor seconds of the fastest of some runs, after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - busy))
    return min(found)


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


PARTS: dict[str, Callable[[], None]] = {"monte_carlo": part_monte_carlo}
SIDES: dict[str, Callable[..., dict[str, Any]]] = {
    "replay": side_replay,
    "backtests": side_backtests,
    "resampling": side_resampling,
    "numpy_resampling": side_numpy_resampling,
}


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, SIDES)
