"""Features against TA-Lib, live pushes against recomputing, warm starts against cold ones: JSON lines.

    python -m benchmarks.features

Batch: arrays in memory to an array, ours and TA-Lib by turns in one process, medians. Live: the whole catalogue takes
one bar; the peer is what a platform without resumable features does at every bar, the same kernels over as many bars
as the longest warm-up asks. Start: a process that imports the catalogue and calls each kernel once, with an empty cache
and with a filled one; an interpreter that imports no project code is not subtracted.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import talib

from research.features import CATALOGUE, FeatureSet

N_BARS = 1_000_000
TURNS = 15
LIVE_BARS = 2_000
MINUTE_NS = 60 * 10**9
START_NS = 1_704_067_200 * 10**9
ROOT = Path(__file__).resolve().parents[1]
FIRST_CALLS = """
import numpy as np
from research.features import CATALOGUE
for spec in CATALOGUE.values():
    arguments = spec.arguments()
    inputs = [np.ones(1, dtype=np.int64 if name == "ts" else np.float64) for name in spec.inputs]
    spec.run(inputs, arguments, spec.initial_state(arguments))
"""


def market(n: int) -> dict[str, np.ndarray]:
    """Return the columns of a random walk around 100."""
    rng = np.random.Generator(np.random.PCG64(7))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 5e-4, n)))
    before = np.concatenate(([100.0], close[:-1]))
    reach = np.abs(rng.normal(0.0, 5e-4, n))
    return {
        "ts": START_NS + MINUTE_NS * np.arange(n), "close": close, "high": np.maximum(before, close) * (1.0 + reach),
        "low": np.minimum(before, close) * (1.0 - reach), "volume": rng.lognormal(2.0, 1.0, n),
    }  # fmt: skip


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def by_turns(ours: Callable[[], object], peer: Callable[[], object], turns: int = TURNS) -> tuple[float, float]:
    """Return the median seconds of two calls made alternately, after one of each that is not counted."""
    ours()
    peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(turns)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def tell(name: str, ours: float, peer: float, peer_name: str, unit: str, goal: float) -> None:
    """Print one line of the benchmark table."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = {
        "name": name, "ours": round(ours, 3), "peer": round(peer, 3), "peer_name": peer_name,
        "ratio": round(peer / ours, 3), "unit": unit, "peak_mb": round(peak_mb), "goal": goal,
        "met": peer / ours >= goal,
    }  # fmt: skip
    print(json.dumps(line), flush=True)


def batch() -> None:
    columns = market(N_BARS)
    close, high, low = columns["close"], columns["high"], columns["low"]
    peers = {
        "ema": (20, lambda: talib.EMA(close, 20)),
        "rsi": (14, lambda: talib.RSI(close, 14)),
        "atr": (14, lambda: talib.ATR(high, low, close, 14)),
    }
    for name, (length, theirs) in peers.items():
        spec = CATALOGUE[name]
        arguments = spec.arguments({"length": length})
        inputs = [columns[column] for column in spec.inputs]

        def ours(spec=spec, inputs=inputs, arguments=arguments) -> np.ndarray:
            return spec.run(inputs, arguments, spec.initial_state(arguments))

        mine, other = (1e9 * s / N_BARS for s in by_turns(ours, theirs))
        # Level with it but for noise. TA-Lib's average true range takes less than a multiplication and an addition in
        # IEEE order take one after the other (1.35 ns here): its build must fuse or reorder them, which the chunk law
        # denies us.
        tell(f"features.batch.{name}", mine, other, f"TA-Lib {talib.__version__}", "ns per bar", 0.95)


def live() -> None:
    features = FeatureSet({name: {} for name in CATALOGUE})
    columns = market(features.warmup + LIVE_BARS)
    bars = [{name: column[i : i + 1] for name, column in columns.items()} for i in range(features.warmup + LIVE_BARS)]
    stream, at = features.stream(), features.warmup
    stream.push_arrays({name: column[:at] for name, column in columns.items()})
    history = {name: column[:at] for name, column in columns.items()}
    pushes = iter(bars[at:])
    per_turn = LIVE_BARS // (TURNS + 1)

    def ours() -> None:
        for _ in range(per_turn):
            stream.push_arrays(next(pushes))

    mine, other = by_turns(ours, lambda: features.stream().push_arrays(history))
    name = f"features.live.{len(CATALOGUE)}_features"
    tell(name, 1e6 * mine / per_turn, 1e6 * other, f"recomputing {at} bars", "us per bar", 5.0)


def start() -> None:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": cache}

        def process() -> None:
            subprocess.run([sys.executable, "-c", FIRST_CALLS], check=True, cwd=ROOT, env=environment)

        cold = seconds(process)
        warm = statistics.median(seconds(process) for _ in range(3))
    tell(f"features.start.{len(CATALOGUE)}_features", warm, cold, "the same with an empty cache", "s", 2.0)


if __name__ == "__main__":
    if sys.argv[1:] == ["batch"]:
        batch()
    else:
        # glibc otherwise hands freed results back to the system in some processes and not in others, and faulting
        # 8 MB in again costs 4 ns per bar, more than any of these loops.
        kept = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
        subprocess.run([sys.executable, "-m", "benchmarks.features", "batch"], check=True, env={**os.environ, **kept})
        live()
        start()
