"""The peer of a sweep: crossovers of two moving averages in vectorbt 1.2, from closes to three metrics each.

It is imported by a benchmark, which calls :func:`vectorbt_crossover` in a fresh process with :data:`ENVIRONMENT` set,
and measures nothing of ours; run as a script it does nothing.

What is asked, so that another engine can give the same figures. Fast and slow are simple means of closes. A long with
the whole equity is bought where fast is above slow after having been below it, and sold where it is below after having
been above; nothing is bought before the first such cross, and there are no shorts. Both act at the **next bar's open**,
with slippage of 1 bp and a fee of 5.5 bp on the notional. There are no lots, so that returns do not depend on the
initial cash. Where the two means are equal to the last digit, rounding decides whether there is a cross: vectorbt's
means are differences of one sum over all bars, and of 10,860 orders of windows 5 and 10 two are such (Rust: four).

What was done for the peer's sake, all measured: columns in chunks, freed memory kept by the process, daily returns
from the value at each day's end, drawdown from the value too, garbage collected between chunks, means computed once per
window, and the close shifted once instead of every signal.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Engine = Literal["numba", "rust"]

MINUTE_NS = 60 * 10**9
DAY_NS = 1_440 * MINUTE_NS
START_NS = 1_704_067_200 * 10**9
# Ticks are small beside a bar's move: at 100 they would be a fifth of it, and the two means would often be equal.
START_PRICE = 3_000.0
SHORTEST, LONGEST = 5, 400
INITIAL_CASH = 10_000.0
FEE_FRAC, SLIPPAGE_FRAC = 5.5e-4, 1e-4
# Values of one array of a chunk, 16 MB. CPU time with ENVIRONMENT set, ns per bar and combination: 500,000 bars x 20
# in chunks of 2, 4 and 10: 122, 99, 164; 100,000 x 40 in chunks of 4, 10, 20 and 40: 143, 135, 125, 140.
CHUNK_VALUES = 2_000_000
# glibc hands large freed arrays back to the system, and faulting them in again costs as much as the loops over them.
# 500,000 bars x 20, ns of CPU time: in chunks of 4 121 without these and 99 with them; all at once, without, 260.
ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TOP_PAD_": str(2**26),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Crossovers:
    """What a peer took and found.

    Parameters
    ----------
    seconds : tuple of float
        Wall time of each repeat, after a warm-up on few bars.
    cpu_seconds : tuple of float
        Processor time of the same: what is left of the wall time when other work shares the machine.
    peak_mb : float
        Peak resident memory of the process so far, the interpreter and vectorbt itself included (some 400 MB).
    chunk : int
        Combinations at a time.
    sharpe : (n_combinations,) array of float64
        Of daily (UTC) returns, the day of the last bar included, annualised with 365; ``ddof=1``.
    max_drawdown : (n_combinations,) array of float64
        Of the value at each close, a fraction of at most 0.
    total_return : (n_combinations,) array of float64
        Of the value at the last close, a fraction.
    orders : (n_combinations,) array of int64
        Filled orders.
    """

    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    peak_mb: float
    chunk: int
    sharpe: FloatArray
    max_drawdown: FloatArray
    total_return: FloatArray
    orders: NDArray[np.int64]

    @property
    def best_seconds(self) -> float:
        """Wall time of the fastest repeat."""
        return min(self.seconds)

    @property
    def median_seconds(self) -> float:
        """Median wall time."""
        return statistics.median(self.seconds)


def crossover_bars(n_bars: int, seed: int = 7) -> dict[str, NDArray[Any]]:
    """Return one-minute bars of a random walk, the same for the same seed.

    Parameters
    ----------
    n_bars : int
        From 2024-01-01, 00:00 UTC.
    seed : int
        Of the walk.

    Returns
    -------
    dict of str to (n_bars,) array
        ``ts`` (int64, ns UTC, bar open), ``open`` (the close before), ``high``, ``low``, ``close`` (multiples of 0.01,
        from 3,000, 5 bp of deviation a bar: 36 % a year) and ``volume``, float64.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    close = np.round(START_PRICE * np.exp(np.cumsum(rng.normal(0.0, 5e-4, n_bars))), 2)
    before = np.concatenate(([START_PRICE], close[:-1]))
    up, down = np.abs(rng.normal(0.0, 2e-4, (2, n_bars)))
    return {
        "ts": START_NS + MINUTE_NS * np.arange(n_bars), "open": before,
        "high": np.round(np.maximum(before, close) * (1.0 + up), 2),
        "low": np.round(np.minimum(before, close) * (1.0 - down), 2),
        "close": close, "volume": np.round(rng.lognormal(2.0, 1.0, n_bars), 3),
    }  # fmt: skip


def crossover_grid(n: int) -> list[tuple[int, int]]:
    """Return ``n`` pairs of windows, fast below slow, sorted.

    The windows are spread geometrically over 5 to 400 and are as few as give so many pairs: 7 for 20, 21 for 200, 64
    for 2,000. A system that computes each mean once per window is thereby not hindered by the grid.
    """
    for count in range(2, LONGEST):
        windows = np.unique(np.round(np.geomspace(SHORTEST, LONGEST, count)).astype(int)).tolist()
        pairs = [(fast, slow) for k, fast in enumerate(windows) for slow in windows[k + 1 :]]
        if len(pairs) >= n:
            return [pairs[k] for k in np.linspace(0, len(pairs) - 1, n).round().astype(int)]
    raise ValueError(f"no {n} pairs between {SHORTEST} and {LONGEST}")


def rust_is_available() -> bool:
    """Return whether ``vectorbt-rust`` is installed in the version of vectorbt: ``engine="rust"`` works only then."""
    from vectorbt._engine import is_rust_available

    return bool(is_rust_available())


def vectorbt_crossover(
    n_bars: int,
    n_combinations: int,
    engine: Engine = "numba",
    chunk: int | None = None,
    repeats: int = 3,
    seed: int = 7,
) -> Crossovers:
    """Return time, memory and metrics of vectorbt for every pair of :func:`crossover_grid`.

    Parameters
    ----------
    n_bars, seed : int
        Of :func:`crossover_bars`; making the bars is not in the time.
    n_combinations : int
        Of :func:`crossover_grid`.
    engine : str
        ``numba``, or ``rust`` where :func:`rust_is_available`.
    chunk : int, optional
        Combinations at a time; without it as many as make arrays of 2,000,000 values. ``n_combinations`` is what the
        documentation does, all in one piece: 500,000 bars then want some 60 MB per combination.
    repeats : int
        Timed runs, after one of the same columns on 2,000 bars that compiles.

    Raises
    ------
    RuntimeError
        If ``engine`` is ``rust`` and vectorbt-rust is not installed in vectorbt's version.

    Notes
    -----
    ``pf.sharpe_ratio()`` of one-minute returns, the line of vectorbt's documentation, first makes the returns and, in
    every column again, those of the benchmark: half of the time. Daily returns from ``pf.value()`` cost nothing beside
    the value, which the drawdown wants too. 100,000 bars x 20 in one piece, freed memory handed back: 430 ns per bar
    and combination with ``pf.sharpe_ratio()`` and ``pf.max_drawdown()``, 290 as here, 187 with garbage collected; 105
    with freed memory kept too. The whole of it runs on one core. Rust took 220 where Numba took 105 to 170.
    """
    import vectorbt as vbt

    if engine == "rust" and not rust_is_available():
        raise RuntimeError("vectorbt-rust is not installed in the version of vectorbt")
    # By default Rust is taken where it is installed; here the caller says which.
    vbt.settings["engine"] = engine
    pairs = crossover_grid(n_combinations)
    size = chunk or max(1, CHUNK_VALUES // n_bars)
    _sweep(crossover_bars(2_000, seed), pairs, size)
    gc.collect()
    gc.freeze()  # the collections between chunks then pass over imported modules: a few ms each instead of 190
    bars = crossover_bars(n_bars, seed)
    wall, cpu = [], []
    for _ in range(repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        found = _sweep(bars, pairs, size)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    sharpe, drawdown, total, orders = found
    return Crossovers(tuple(wall), tuple(cpu), peak, size, sharpe, drawdown, total, orders.astype(np.int64))


def _sweep(bars: dict[str, NDArray[Any]], pairs: list[tuple[int, int]], chunk: int) -> FloatArray:
    """Return Sharpe ratios, drawdowns, returns and counts of orders, shape (4, n_pairs)."""
    import pandas as pd
    import vectorbt as vbt

    # Without a zone: vectorbt turns a zoned index into objects at every step.
    index = pd.DatetimeIndex(bars["ts"].astype("datetime64[ns]"))
    close, price = pd.Series(bars["close"], index=index), pd.Series(bars["open"], index=index)
    known = close.shift(1)  # what is known at a bar's open: signals of it are to be filled there
    day_ends = np.flatnonzero(np.append(np.diff(bars["ts"] // DAY_NS) != 0, True))
    means = vbt.MA.run(known, sorted({window for pair in pairs for window in pair}), return_cache=True)
    parts = []
    for start in range(0, len(pairs), chunk):
        parts.append(_chunk(close, price, known, means, pairs[start : start + chunk], day_ends))
        gc.collect()  # vectorbt's objects refer to themselves, and two chunks' would be in memory
    return np.concatenate(parts, axis=1)


def _chunk(
    close: Any, price: Any, known: Any, means: Any, pairs: list[tuple[int, int]], day_ends: NDArray[np.int64]
) -> FloatArray:
    import vectorbt as vbt
    from vectorbt.returns.accessors import ReturnsAccessor

    fast_windows, slow_windows = zip(*pairs, strict=True)
    fast = vbt.MA.run(known, list(fast_windows), use_cache=means, short_name="fast")
    slow = vbt.MA.run(known, list(slow_windows), use_cache=means, short_name="slow")
    portfolio = vbt.Portfolio.from_signals(
        close, fast.ma_crossed_above(slow), fast.ma_crossed_below(slow), price=price, fees=FEE_FRAC,
        slippage=SLIPPAGE_FRAC, init_cash=INITIAL_CASH, freq="1min",
    )  # fmt: skip
    daily = ReturnsAccessor.from_value(portfolio.value().iloc[day_ends], init_value=INITIAL_CASH, freq="1d")
    figures = (
        daily.sharpe_ratio(), portfolio.drawdowns.max_drawdown(), portfolio.total_return(), portfolio.orders.count()
    )  # fmt: skip
    # One combination gives scalars. The drawdown of a value that never fell is NaN.
    found = np.stack([np.atleast_1d(np.asarray(figure, dtype=np.float64)) for figure in figures])
    found[1] = np.nan_to_num(found[1])
    return found
