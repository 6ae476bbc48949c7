"""Sweeps and single backtests against vectorbt 1.2 and against the floor of their arithmetic: JSON lines.

    python -m benchmarks.backtest [PART ...]

Every side runs in a process of its own, so that peaks are apart, after a run that compiles. Times of sweeps are from
bars in memory to a table of Sharpe ratio, maximum drawdown, return and thirty other figures; vectorbt computes those
three, tuned (columns in chunks, an allocator that keeps memory: see ``peers_vectorbt``) and as documented (all columns
at once).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers_vectorbt import (
    ENVIRONMENT,
    FEE_FRAC,
    SLIPPAGE_FRAC,
    crossover_bars,
    crossover_grid,
    rust_is_available,
    vectorbt_crossover,
)
from benchmarks.sides import ROOT, main, peak_mb, run_side, tell

N_BARS, N_COMBINATIONS = 500_000, 200


# --------------------------------------------------------------------------- what is run
def frame_of(n_bars: int) -> Any:
    """Return the benchmark's bars as a frame."""
    import polars as pl

    from research.market.bars import TS

    bars = crossover_bars(n_bars, 7)
    names = ("ts", "open", "high", "low", "close", "volume")
    columns = bars if isinstance(bars, dict) else {name: getattr(bars, name) for name in names}
    return pl.DataFrame({name: columns[name] for name in names}).with_columns(pl.col("ts").cast(TS))


def crossover_spec(exposure: float, allow_short: int) -> Any:
    """Return the crossover as a policy."""
    from research.policy import PolicySpec

    return PolicySpec(
        base_interval="1m",
        decision_interval="1m",
        features={"fast": {"feature": "sma", "length": 5}, "slow": {"feature": "sma", "length": 50}},
        strategy="crossover",
        strategy_inputs={"fast": "fast", "slow": "slow"},
        strategy_params={"allow_short": allow_short},
        sizer="fixed",
        sizer_params={"exposure": exposure},
    )


def fine_spot() -> Any:
    """Return a spot instrument with lots and ticks so fine that they do not matter, as vectorbt has none."""
    from research.market.instruments import Instrument, Terms

    terms = Terms(0, 1e-8, 1e-8, 1e-8, float("inf"), 0.0, 10.0, 10.0, 0.0, 1.0)
    return Instrument("bench", "spot", "XUSDT", "X", "USDT", (terms,))


def rows_of(n_combinations: int) -> list[dict[str, int]]:
    """Return the grid."""
    return [{"features.fast.length": int(f), "features.slow.length": int(s)} for f, s in crossover_grid(n_combinations)]


def cheap_sweep(bars: Any, n_combinations: int, threads: int) -> Any:
    """Return the prepared sweep that vectorbt can be asked for as well: spot, all in or out, fees and slippage."""
    from research.backtest import Sweep
    from research.execution import Costs

    return Sweep(
        bars, crossover_spec(1.0, 0), rows_of(n_combinations), instrument=fine_spot(), threads=threads,
        costs=Costs(taker_fee_bps=FEE_FRAC * 1e4, slippage_bps=SLIPPAGE_FRAC * 1e4),
    )  # fmt: skip


def full_sweep(bars: Any, n_combinations: int, threads: int) -> Any:
    """Return a sweep with perpetual realism: stop, target, funding, tiers, isolated margin and liquidation."""
    from research.backtest import Sweep
    from research.execution import Costs, Margin
    from research.market.instruments import sample_instrument
    from research.risk import Exits

    return Sweep(
        bars, crossover_spec(0.9, 1), rows_of(n_combinations), instrument=sample_instrument("ETHUSDT"),
        threads=threads, costs=Costs(half_spread_bps=0.5, slippage_bps=1.0), margin=Margin("isolated", leverage=5.0),
        exits=Exits(stop_distance=0.01, take_profits=((0.02, 1.0),)), funding=funding_of(bars),
        initial_cash_quote=1e5,
    )  # fmt: skip


def funding_of(bars: Any) -> Any:
    """Return settlements every eight hours."""
    import polars as pl

    ts = bars["ts"][::480]
    rates = np.random.Generator(np.random.PCG64(11)).normal(0.0, 1e-4, len(ts))
    return pl.DataFrame({"ts": ts, "rate": rates, "interval_hours": 8.0})


def timed(work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the seconds of the fastest of some runs, after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


# --------------------------------------------------------------------------- one side each, in a process of its own
def side_sweep(n_bars: int, n_combinations: int, threads: int, repeats: int) -> dict[str, Any]:
    """Return seconds, peak and figures of our side of the sweep."""
    bars = frame_of(n_bars)
    cheap_sweep(bars[:40_000], 2, 1).run(progress=False)
    tables: list[Any] = []

    def work() -> None:
        tables[:] = [cheap_sweep(bars, n_combinations, threads).run(progress=False).table]

    begin = time.perf_counter()
    work()
    seconds = [time.perf_counter() - begin]
    for _ in range(repeats - 1):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    figures = {name: tables[0][name].to_list() for name in ("sharpe", "max_drawdown", "total_return", "fills")}
    return {"seconds": min(seconds), "peak": peak_mb(), **figures}


def side_vectorbt(n_bars: int, n_combinations: int, engine: str, chunk: int | None, repeats: int) -> dict[str, Any]:
    """Return seconds, peak and figures of vectorbt's side."""
    found = vectorbt_crossover(n_bars, n_combinations, engine, chunk, repeats)  # type: ignore[arg-type]
    return {
        "seconds": min(found.seconds), "peak": found.peak_mb, "sharpe": found.sharpe.tolist(),
        "max_drawdown": found.max_drawdown.tolist(), "total_return": found.total_return.tolist(),
        "fills": found.orders.tolist(),
    }  # fmt: skip


def side_full(n_bars: int, n_combinations: int, threads: int) -> dict[str, Any]:
    """Return seconds and peak of a sweep with all of a perpetual's realism."""
    bars = frame_of(n_bars)
    full_sweep(bars[:40_000], 2, 1).run(progress=False)
    seconds = timed(lambda: full_sweep(bars, n_combinations, threads).run(progress=False), 2)
    table = full_sweep(bars, n_combinations, threads).run(progress=False).table
    return {"seconds": seconds, "peak": peak_mb(), "fills": float(table["fills"].mean())}  # type: ignore[arg-type]


def side_floor(n_bars: int) -> dict[str, Any]:
    """Return the seconds of the least that one combination must do with a bar: mark it, and compare peak and depth."""
    import numba

    close = frame_of(n_bars)["close"].to_numpy()

    @numba.njit(nogil=True, error_model="numpy")
    def floor(close, qty, wallet):  # type: ignore[no-untyped-def]
        peak = deepest = 0.0
        for price in close:
            worth = wallet + qty * price
            if worth > peak:
                peak = worth
            elif worth - peak < deepest * peak:
                deepest = (worth - peak) / peak
        return deepest

    return {"seconds": timed(lambda: floor(close, 1.5, 10.0), 20), "peak": peak_mb()}


def side_lake(n_bars: int, n_combinations: int) -> dict[str, Any]:
    """Return seconds and peak of a sweep whose bars stream from a lake of Parquet files."""
    from research.market import Lake
    from research.market.bars import blocks_on_clock

    name = ("bench", "spot", "XUSDT")
    with tempfile.TemporaryDirectory() as folder:
        writer = [sys.executable, "-m", "benchmarks.backtest", "side", json.dumps(["write_lake", folder, n_bars])]
        subprocess.run(writer, cwd=ROOT, check=True, capture_output=True)
        lake = Lake(folder)
        cheap_sweep(frame_of(40_000), 2, 1).run(progress=False)
        begin = time.perf_counter()
        blocks = blocks_on_clock(lake.blocks(*name, "bars", "1m"), "1m")
        table = cheap_sweep(blocks, n_combinations, 2).run(progress=False).table
        seconds = time.perf_counter() - begin
    assert table.height == n_combinations
    return {"seconds": seconds, "peak": peak_mb()}


def side_write_lake(folder: str, n_bars: int) -> dict[str, Any]:
    """Write the bars into a lake, in a process whose memory is not measured."""
    import polars as pl

    from research.market import Lake

    bars = frame_of(n_bars).with_columns(pl.lit(None, pl.Float64).alias("turnover"))
    Lake(folder).write(bars, "bench", "spot", "XUSDT", "bars", "1m")
    return {}


def side_simulate(n_bars: int) -> dict[str, Any]:
    """Return seconds and peak of one backtest with stop, ladder, funding, marks and isolated margin."""
    from research.backtest import simulate
    from research.execution import Costs, Margin
    from research.market.instruments import sample_instrument
    from research.risk import Exits

    bars = frame_of(n_bars)
    rng = np.random.Generator(np.random.PCG64(7))
    targets = np.full(n_bars, np.nan)
    targets[::50] = rng.choice([-0.9, -0.5, 0.0, 0.5, 0.9], targets[::50].size)
    exits = Exits(stop_distance=0.01, take_profits=((0.01, 0.4), (0.02, 0.3), (0.03, 0.2)))
    settings: dict[str, Any] = {
        "instrument": sample_instrument("ETHUSDT"), "costs": Costs(half_spread_bps=0.5, slippage_bps=1.0),
        "margin": Margin("isolated", leverage=5.0), "exits": exits, "funding": funding_of(bars),
        "mark": bars.select("ts", "open", "high", "low", "close"),
    }  # fmt: skip
    return {"seconds": timed(lambda: simulate(bars, targets, **settings), 7), "peak": peak_mb()}


def side_from_orders(n_bars: int) -> dict[str, Any]:
    """Return seconds and peak of vectorbt's ``from_orders`` on the same bars and targets, from orders to the value."""
    import pandas as pd
    import vectorbt as vbt

    bars = frame_of(n_bars)
    rng = np.random.Generator(np.random.PCG64(7))
    targets = np.full(n_bars, np.nan)
    targets[::50] = rng.choice([-0.9, -0.5, 0.0, 0.5, 0.9], targets[::50].size)
    # Without a zone: vectorbt turns a zoned index into objects at every step, ten times the work measured here.
    index = pd.DatetimeIndex(bars["ts"].to_numpy().astype("datetime64[ns]"))
    series, price = (pd.Series(bars[name].to_numpy(), index=index) for name in ("close", "open"))
    size = pd.Series(np.concatenate(([np.nan], targets[:-1])), index=index)  # acts at the next open

    def work() -> None:
        portfolio = vbt.Portfolio.from_orders(
            series, size=size, size_type="targetpercent", price=price, fees=5.5e-4, slippage=1.5e-4, init_cash=1e4,
            freq="1min",
        )  # fmt: skip
        portfolio.value()

    return {"seconds": timed(work, 3), "peak": peak_mb()}


# --------------------------------------------------------------------------- rows
def run(side: str, *arguments: Any, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what a side found, run in a fresh process."""
    return run_side("benchmarks.backtest", side, *arguments, environment=environment)


def per_unit(found: dict[str, Any], n_bars: int, n_combinations: int) -> float:
    """Return nanoseconds per bar and combination."""
    return float(found["seconds"]) * 1e9 / n_bars / n_combinations


def part_vectorbt() -> None:
    """The same sweep on both sides, and whether they find the same."""
    ours = run("sweep", N_BARS, N_COMBINATIONS, 2, 3)
    mine = per_unit(ours, N_BARS, N_COMBINATIONS)
    engines = [("numba", "vectorbt tuned")] + [("rust", "vectorbt-rust tuned")] * rust_is_available()
    for engine, label in engines:
        tuned = run("vectorbt", N_BARS, N_COMBINATIONS, engine, None, 1, environment=ENVIRONMENT)
        peer = per_unit(tuned, N_BARS, N_COMBINATIONS)
        tell(f"sweep_200_{engine}", mine, peer, label, "ns/bar/combination", ours["peak"], 150.0)
    documented = run("vectorbt", N_BARS, N_COMBINATIONS, "numba", N_COMBINATIONS, 1)
    peer = per_unit(documented, N_BARS, N_COMBINATIONS)
    tell("sweep_200_documented", mine, peer, "vectorbt as documented", "ns/bar/combination", ours["peak"], 150.0)
    tell("sweep_200_memory", ours["peak"], documented["peak"], "vectorbt as documented", "MB", ours["peak"], 1.0,
         is_met=ours["peak"] <= 400.0)  # fmt: skip
    close = np.ones(N_COMBINATIONS, bool)
    for name in ("total_return", "max_drawdown"):
        close &= np.abs(np.subtract(ours[name], tuned[name])) <= 1e-8
    # The others have means that tie, where rounding decides whether they cross: see the peer.
    tell("sweep_200_agreement", float(close.mean()), None, "vectorbt, return and drawdown to 1e-8", "share of rows",
         ours["peak"], 0.8, is_met=bool(close.mean() >= 0.8))  # fmt: skip


def part_memory() -> None:
    """Ten times the combinations in the same memory."""
    few = run("sweep", N_BARS, N_COMBINATIONS, 2, 1)
    many = run("sweep", N_BARS, 10 * N_COMBINATIONS, 2, 1)
    tell("sweep_2000_memory", many["peak"], few["peak"], "200 combinations", "MB", many["peak"], 0.8,
         is_met=many["peak"] <= 400.0 and few["peak"] / many["peak"] >= 0.8)  # fmt: skip


def part_realism() -> None:
    """All of a perpetual's realism on one core, on two, and against the floor."""
    one, two = (run("full", N_BARS, N_COMBINATIONS, threads) for threads in (1, 2))
    floor = run("floor", N_BARS)["seconds"] * 1e9 / N_BARS
    mine = per_unit(one, N_BARS, N_COMBINATIONS)
    tell("full_one_core", mine, floor, "marking a bar and comparing peak and depth", "ns/bar/combination", one["peak"],
         12.0, is_met=mine <= 12.0)  # fmt: skip
    tell("full_two_cores", two["seconds"], one["seconds"], "one core", "s", two["peak"], 1.8)


def part_linear() -> None:
    """Time against bars and combinations over two decades: the cost of a unit at the large end by that at the small."""
    bars = [per_unit(run("sweep", n, 20, 1, 3), n, 20) for n in (50_000, 500_000, 5_000_000)]
    tell("linear_in_bars", bars[2], bars[0], "50,000 bars of 5,000,000", "ns/bar/combination", 0.0, 0.8)
    grids = [per_unit(run("sweep", 50_000, n, 1, 3), 50_000, n) for n in (20, 200, 2_000)]
    tell("linear_in_combinations", grids[2], grids[0], "20 combinations of 2,000", "ns/bar/combination", 0.0, 0.8)


def part_lake() -> None:
    """Five million bars streamed from Parquet."""
    found = run("lake", 5_000_000, 20)
    tell("lake_5m_bars", found["peak"], None, "a limit of 600 MB", "MB", found["peak"], 600.0,
         is_met=found["peak"] <= 600.0)  # fmt: skip


def part_single() -> None:
    """One backtest of a million bars with full realism."""
    mine, peer = run("simulate", 1_000_000), run("from_orders", 1_000_000)
    tell("simulate_1m_bars", mine["seconds"] * 1e3, peer["seconds"] * 1e3, "vectorbt from_orders, targets alone", "ms",
         mine["peak"], 60.0, is_met=mine["seconds"] <= 0.060)  # fmt: skip


PARTS: dict[str, Callable[[], None]] = {
    "vectorbt": part_vectorbt,
    "memory": part_memory,
    "realism": part_realism,
    "linear": part_linear,
    "lake": part_lake,
    "single": part_single,
}
SIDES: dict[str, Callable[..., dict[str, Any]]] = {
    "sweep": side_sweep,
    "vectorbt": side_vectorbt,
    "full": side_full,
    "floor": side_floor,
    "lake": side_lake,
    "write_lake": side_write_lake,
    "simulate": side_simulate,
    "from_orders": side_from_orders,
}


if __name__ == "__main__":
    main(sys.argv[1:], PARTS, SIDES)
