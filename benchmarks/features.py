"""Features against TA-Lib and a pandas library, the whole catalogue at once, live pushes, warm starts: JSON lines.

    python -m benchmarks.features [shared | pandas | catalogue | live | growth | start]

shared     Every indicator that TA-Lib has too, on a million bars: arrays in memory to arrays, by turns in one process,
           medians. Where ours gives several outputs, TA-Lib is asked for all that it has of them.
pandas     The same against the library ``ta``, which computes in pandas, on 20,000 bars (some take 80 us a bar there).
catalogue  All features on a million one-minute bars, two threads, table to table; time and memory.
live       All features take one bar; the peer is what a platform without resumable features does at every bar, the same
           kernels over as many bars as the longest warm-up asks. And the slowest pushes against their goal.
growth     A million of those pushes: what the process has grown by.
start      A process that computes the first row of all features, with an empty cache and with a filled one; an
           interpreter that imports no project code is not subtracted.
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
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import talib

from research.features import CATALOGUE, FeatureSet
from research.features.inputs import PRICE, SIZE, kind_of
from research.market.bars import TS

N_BARS = 1_000_000
TURNS = 15
MINUTE_NS = 60 * 10**9
START_NS = 1_704_067_200 * 10**9
ROOT = Path(__file__).resolve().parents[1]
WHOLE: dict[str, dict[str, Any]] = {name: {} for name in CATALOGUE}
FIRST_ROW = """
import numpy as np
from research.features import CATALOGUE, FeatureSet
features = FeatureSet({name: {} for name in CATALOGUE})
bar = {name: np.ones(1) for name in features.inputs if name != "ts"}
features.stream().push_arrays({**bar, "ts": np.zeros(1, dtype=np.int64)})
"""


def market(n: int) -> dict[str, Any]:
    """Return every column that the catalogue reads, for a random walk around 100."""
    rng = np.random.Generator(np.random.PCG64(7))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 5e-4, n)))
    before = np.concatenate(([100.0], close[:-1]))
    reach = np.abs(rng.normal(0.0, 5e-4, n))
    columns: dict[str, Any] = {
        "ts": START_NS + MINUTE_NS * np.arange(n), "open": before, "high": np.maximum(before, close) * (1.0 + reach),
        "low": np.minimum(before, close) * (1.0 - reach), "close": close, "volume": rng.lognormal(2.0, 1.0, n),
        "funding_interval": np.full(n, 8.0), "funding_age": np.arange(n) % 480.0,
    }  # fmt: skip
    for name in FeatureSet(WHOLE).inputs:
        if name not in columns and kind_of(name) == PRICE:
            columns[name] = close * np.exp(np.cumsum(rng.normal(0.0, 2e-4, n)))
        elif name not in columns:
            columns[name] = columns["volume"] * (rng.random(n) if kind_of(name) == SIZE else rng.normal(0.0, 1.0, n))
    return columns


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


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tell(name: str, ours: float, peer: float, peer_name: str, unit: str, goal: float) -> float:
    """Print one line of the benchmark table and return its ratio."""
    ratio = peer / ours if ours else float("inf")
    line = {
        "name": name, "ours": round(ours, 3), "peer": round(peer, 3), "peer_name": peer_name,
        "ratio": round(ratio, 3), "unit": unit, "peak_mb": round(peak_mb()), "goal": goal, "met": ratio >= goal,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return ratio


def kernel_call(name: str, columns: dict[str, Any], params: dict[str, Any]) -> Callable[[], object]:
    spec = CATALOGUE[name]
    arguments = spec.arguments(params)
    inputs = [columns["close" if role == "value" else role] for role in spec.inputs]
    return lambda: spec.run(inputs, arguments, spec.initial_state(arguments))


def talib_peers(c: dict[str, Any]) -> dict[str, tuple[dict[str, Any], Callable[[], object]]]:
    """Return what TA-Lib has too: our name, parameters, and its calls for the same outputs."""
    o, h, l, x, v = (c[name] for name in ("open", "high", "low", "close", "volume"))  # noqa: E741 - the letters of TA-Lib
    return {
        "sma": ({"length": 20}, lambda: talib.SMA(x, 20)),
        "ema": ({"length": 20}, lambda: talib.EMA(x, 20)),
        "wma": ({"length": 20}, lambda: talib.WMA(x, 20)),
        "dema": ({"length": 20}, lambda: talib.DEMA(x, 20)),
        "tema": ({"length": 20}, lambda: talib.TEMA(x, 20)),
        "kama": ({"length": 10}, lambda: talib.KAMA(x, 10)),
        "macd": ({}, lambda: talib.MACD(x, 12, 26, 9)),
        "adx": ({}, lambda: (talib.ADX(h, l, x), talib.PLUS_DI(h, l, x), talib.MINUS_DI(h, l, x))),
        "parabolic_sar": ({}, lambda: talib.SAR(h, l)),
        "aroon": ({"length": 14}, lambda: (talib.AROON(h, l, 14), talib.AROONOSC(h, l, 14))),
        "linear_regression": ({"length": 14}, lambda: (talib.LINEARREG_SLOPE(x, 14), talib.LINEARREG(x, 14))),
        "rsi": ({"length": 14}, lambda: talib.RSI(x, 14)),
        "stochastic": ({}, lambda: talib.STOCH(h, l, x, 14, 3, 0, 3, 0)),
        "stoch_rsi": ({}, lambda: talib.STOCHRSI(x, 14, 14, 3, 0)),
        "mfi": ({"length": 14}, lambda: talib.MFI(h, l, x, v, 14)),
        "roc": ({"length": 10}, lambda: talib.ROC(x, 10)),
        "williams_r": ({"length": 14}, lambda: talib.WILLR(h, l, x, 14)),
        "cci": ({"length": 20}, lambda: talib.CCI(h, l, x, 20)),
        "true_range": ({}, lambda: talib.TRANGE(h, l, x)),
        "atr": ({"length": 14}, lambda: talib.ATR(h, l, x, 14)),
        "bollinger": ({"length": 20}, lambda: talib.BBANDS(x, 20, 2.0, 2.0)),
        "obv": ({}, lambda: talib.OBV(x, v)),
        "engulfing": ({}, lambda: talib.CDLENGULFING(o, h, l, x)),
        "three_soldiers": ({}, lambda: (talib.CDL3WHITESOLDIERS(o, h, l, x), talib.CDL3BLACKCROWS(o, h, l, x))),
        "pin_bar": ({}, lambda: (talib.CDLHAMMER(o, h, l, x), talib.CDLSHOOTINGSTAR(o, h, l, x))),
    }  # fmt: skip


def shared() -> None:
    columns = market(N_BARS)
    ratios = []
    for name, (params, theirs) in talib_peers(columns).items():
        mine, other = (1e9 * s / N_BARS for s in by_turns(kernel_call(name, columns, params), theirs))
        ratios.append(tell(f"features.talib.{name}", mine, other, f"TA-Lib {talib.__version__}", "ns per bar", 0.5))
    median = statistics.median(ratios)
    tell("features.talib.median_of_ratios", 1.0, median, f"TA-Lib, {len(ratios)} indicators", "times", 1.0)


def pandas() -> None:
    import pandas as pd

    warnings.simplefilter("ignore")
    from ta import momentum, trend, volatility, volume

    n = 20_000
    columns = market(n)
    h, l, x, v = (pd.Series(columns[name]) for name in ("high", "low", "close", "volume"))  # noqa: E741 - the letters of TA-Lib
    bands = volatility.BollingerBands
    peers: dict[str, tuple[dict[str, Any], Callable[[], object]]] = {
        "sma": ({"length": 20}, lambda: trend.sma_indicator(x, 20)),
        "ema": ({"length": 20}, lambda: trend.ema_indicator(x, 20)),
        "wma": ({"length": 20}, lambda: trend.wma_indicator(x, 20)),
        "kama": ({"length": 10}, lambda: momentum.kama(x, 10)),
        "macd": ({}, lambda: (m := trend.MACD(x), m.macd(), m.macd_signal(), m.macd_diff())),
        "adx": ({}, lambda: (a := trend.ADXIndicator(h, l, x), a.adx(), a.adx_pos(), a.adx_neg())),
        "parabolic_sar": ({}, lambda: trend.PSARIndicator(h, l, x).psar()),
        "aroon": ({"length": 14}, lambda: (a := trend.AroonIndicator(h, l, 14), a.aroon_up(), a.aroon_down())),
        "ichimoku": ({}, lambda: (i := trend.IchimokuIndicator(h, l), i.ichimoku_a(), i.ichimoku_b())),
        "rsi": ({}, lambda: momentum.rsi(x)),
        "stochastic": ({}, lambda: (s := momentum.StochasticOscillator(h, l, x), s.stoch(), s.stoch_signal())),
        "stoch_rsi": ({}, lambda: (s := momentum.StochRSIIndicator(x), s.stochrsi_k(), s.stochrsi_d())),
        "tsi": ({}, lambda: momentum.tsi(x)),
        "mfi": ({}, lambda: volume.money_flow_index(h, l, x, v)),
        "roc": ({"length": 12}, lambda: momentum.roc(x)),
        "williams_r": ({}, lambda: momentum.williams_r(h, l, x)),
        "cci": ({}, lambda: trend.cci(h, l, x)),
        "cmf": ({}, lambda: volume.chaikin_money_flow(h, l, x, v)),
        "atr": ({}, lambda: volatility.average_true_range(h, l, x)),
        "bollinger": ({}, lambda: (b := bands(x), b.bollinger_hband(), b.bollinger_lband(), b.bollinger_pband())),
        "donchian": ({}, lambda: (d := volatility.DonchianChannel(h, l, x), d.donchian_channel_hband())),
        "obv": ({}, lambda: volume.on_balance_volume(x, v)),
    }
    times = []
    for name, (params, theirs) in peers.items():
        mine, other = (1e9 * s / n for s in by_turns(kernel_call(name, columns, params), theirs, 3))
        times.append((mine, other))
    median = statistics.median(b / a for a, b in times)
    tell("features.pandas.median_of_ratios", 1.0, median, f"ta, {len(times)} indicators", "times", 20.0)
    ours, peer = sum(a for a, _ in times), sum(b for _, b in times)
    tell("features.pandas.all_of_them", ours, peer, f"ta, {len(times)} indicators", "ns per bar", 20.0)


def catalogue() -> None:
    """Compute all features of a million bars and set time and memory against their goals."""
    features = FeatureSet(WHOLE, "1m")
    small = pl.DataFrame({**market(3_000)}).with_columns(pl.col("ts").cast(TS))
    features.batch(small, threads=2)  # compiled, or loaded
    columns = market(N_BARS)
    table = pl.DataFrame(columns).with_columns(pl.col("ts").cast(TS))
    del columns
    before = resident_mb()
    took = seconds(lambda: held.append(features.batch(table, threads=2)))
    outputs = held[0].estimated_size("mb")
    name = f"features.catalogue.{len(CATALOGUE)}_features_{len(features.columns)}_columns"
    tell(name, took, 6.0, "the goal: 6 s on 2 cores", "s for a million bars", 1.0)
    tell(f"{name}.memory", peak_mb() - before, outputs + 100.0, "outputs and 100 MB", "MB above the inputs", 1.0)


held: list[pl.DataFrame] = []


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def live() -> None:
    features = FeatureSet({name: {} for name, spec in CATALOGUE.items() if spec.warmup(*spec.arguments()) > 0})
    warm, pushes = 20_000, 20_000
    columns = market(warm + pushes)
    whole = FeatureSet(WHOLE)
    stream = whole.stream()
    stream.push_arrays({name: column[:warm] for name, column in columns.items()})
    bars = [{name: columns[name][i : i + 1] for name in ("ts", *whole.inputs)} for i in range(warm, warm + pushes)]
    took = np.array([seconds(lambda bar=bar: stream.push_arrays(bar)) for bar in bars])[pushes // 4 :]
    count = f"{len(CATALOGUE)}_features"
    tell(
        f"features.live.{count}.p99", 1e6 * float(np.quantile(took, 0.99)), 300.0, "the goal: 300 us", "us per bar", 1.0
    )
    history = {name: columns[name][: features.warmup] for name in ("ts", *features.inputs)}
    again = statistics.median(seconds(lambda: features.stream().push_arrays(history)) for _ in range(5))
    peer = f"recomputing {features.warmup} bars"
    tell(f"features.live.{count}.median", 1e6 * float(np.median(took)), 1e6 * again, peer, "us per bar", 5.0)


def growth() -> None:
    features = FeatureSet(WHOLE)
    columns = market(4_000)
    stream = features.stream()
    bars = [{name: columns[name][i : i + 1] for name in features.inputs if name != "ts"} for i in range(4_000)]
    ts = np.empty(1, dtype=np.int64)
    sizes = []
    for i in range(1_000_000):
        ts[0] = START_NS + i * MINUTE_NS
        stream.push_arrays({**bars[i % 4_000], "ts": ts})
        if i in (99_999, 999_999):
            sizes.append(resident_mb())
    name = "features.live.growth_from_push_100000_to_1000000"
    tell(name, max(sizes[1] - sizes[0], 0.001), 1.0, "1 MB, the noise of an allocator", "MB", 1.0)


def start() -> None:
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": cache}

        def process() -> None:
            subprocess.run([sys.executable, "-c", FIRST_ROW], check=True, cwd=ROOT, env=environment)

        cold = seconds(process)
        warm = statistics.median(seconds(process) for _ in range(3))
    count = f"{len(CATALOGUE)}_features"
    tell(f"features.start.{count}", warm, cold, "the same with an empty cache", "s to the first row", 2.0)
    tell(f"features.start.{count}.goal", warm, 4.0, "the goal: 4 s", "s to the first row", 1.0)


PARTS = {part.__name__: part for part in (shared, pandas, catalogue, live, growth, start)}

if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]]()
    elif len(sys.argv) == 1:
        for part in PARTS:
            # glibc otherwise hands freed results back to the system in some processes and not in others, and faulting
            # 8 MB in again costs 4 ns per bar, more than most of these loops.
            kept = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
            environment = {**os.environ, **(kept if part in ("shared", "pandas") else {})}
            subprocess.run([sys.executable, "-m", "benchmarks.features", part], check=True, env=environment)
    else:
        sys.exit(f"usage: python -m benchmarks.features [{' | '.join(PARTS)}]")
