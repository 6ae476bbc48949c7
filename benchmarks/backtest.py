"""Backtest of one symbol against vectorbt on the same bars and targets: JSON lines of time and peak memory.

    python -m benchmarks.backtest

Both sides go from arrays in memory to total return and maximum drawdown, with fees and slippage. Each runs in its
own process, so that the peaks are apart, after one call that compiles; the best of five is told. vectorbt sizes by
``targetpercent`` at each decision's fill where ours sizes lots at the close, rounds to ticks, and checks minima;
neither charges funding.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

N_BARS = 500_000
EVERY = 50  # a decision each so many bars: 10,000 in all
REPEATS = 5
MINUTE_NS = 60 * 10**9
START_NS = 1_704_067_200 * 10**9
ROOT = Path(__file__).resolve().parents[1]


def market() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return ts, open, close and targets of a random walk around 100."""
    rng = np.random.Generator(np.random.PCG64(7))
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-4, N_BARS))), 2)
    opens = np.concatenate(([100.0], close[:-1]))
    targets = np.full(N_BARS, np.nan)
    targets[::EVERY] = rng.choice([-0.9, -0.5, 0.0, 0.5, 0.9], N_BARS // EVERY)
    return START_NS + MINUTE_NS * np.arange(N_BARS), opens, close, targets


def ours() -> tuple[float, float]:
    """Return seconds and peak MB of ``simulate`` with the two figures."""
    import polars as pl

    from research.backtest import simulate
    from research.execution import Costs
    from research.market.bars import TS
    from research.market.instruments import sample_instrument
    from research.metrics import max_drawdown

    ts, opens, close, targets = market()
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    bars = pl.DataFrame({"ts": ts, "open": opens, "high": high, "low": low, "close": close})
    bars = bars.with_columns(pl.col("ts").cast(TS))
    instrument = sample_instrument("SOLUSDT")

    def run() -> float:
        result = simulate(bars, targets, instrument=instrument, costs=Costs(5.5, slippage_bps=1.0))
        equity = result.ledger.rows["equity"]
        return float(equity[-1] / 10_000.0 - 1.0) + max_drawdown(equity)

    return best(run), peak_mb()


def theirs() -> tuple[float, float]:
    """Return seconds and peak MB of vectorbt's ``from_orders`` with the same two figures."""
    import pandas as pd
    import vectorbt as vbt

    ts, opens, close, targets = market()
    # Without a zone: vectorbt turns a zoned index into objects at every step, ten times the work measured here.
    index = pd.DatetimeIndex(ts.astype("datetime64[ns]"))
    series, price = pd.Series(close, index=index), pd.Series(opens, index=index)
    size = pd.Series(np.concatenate(([np.nan], targets[:-1])), index=index)  # acts at the next open

    def run() -> float:
        portfolio = vbt.Portfolio.from_orders(
            series, size=size, size_type="targetpercent", price=price, fees=5.5e-4, slippage=1e-4,
            init_cash=10_000.0, freq="1min",
        )  # fmt: skip
        return float(portfolio.total_return()) + float(portfolio.max_drawdown())

    return best(run), peak_mb()


def best(run) -> float:
    """Return the seconds of the fastest of some runs, after one that compiles."""
    run()
    found = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return min(found)


def peak_mb() -> float:
    """Return this process's peak resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    """Run both sides, each in a fresh process, and print the comparison."""
    measured = {}
    for side in ("ours", "theirs"):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.backtest", side]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        measured[side] = json.loads(done.stdout.splitlines()[-1])
    seconds, peak = measured["ours"]
    peer_seconds, peer_peak = measured["theirs"]
    per_bar = 1e9 / N_BARS
    for name, mine, peer, unit, goal in (
        ("backtest_one_symbol", seconds * per_bar, peer_seconds * per_bar, "ns/bar", 5.0),
        ("backtest_peak_memory", peak, peer_peak, "MB", 1.0),
    ):
        ratio = peer / mine
        line = {
            "name": name, "ours": round(mine, 2), "peer": round(peer, 2), "peer_name": "vectorbt from_orders",
            "ratio": round(ratio, 2), "unit": unit, "peak_mb": round(peak, 1), "goal": goal, "met": ratio >= goal,
        }  # fmt: skip
        print(json.dumps(line))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"ours": ours, "theirs": theirs}[sys.argv[1]]()))
    else:
        main()
