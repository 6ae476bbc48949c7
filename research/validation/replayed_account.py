"""Random executions of a run with exits, brackets or liquidations: a whole backtest for each path, target by target.

Where an account may leave a position on its own, an order cannot be replayed alone. What is drawn acts on the targets
here, before the account sees them: slower than :mod:`research.validation.replayed_execution`, and cruder in what a
delay is (the order is also sized later).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from research.backtest import Result, simulate
from research.backtest.legs import Column, clock_of, column_of
from research.errors import InvalidInput
from research.execution import Costs
from research.execution.records import Status
from research.kernel import FloatArray, IntArray, kernel
from research.market.bars import arrays
from research.metrics.returns import day_ends
from research.validation.fan import FAN_PATHS, FAN_POINTS, PATH_STATISTICS, PathsResult, fan_positions
from research.validation.path_kernel import path_statistics
from research.validation.replayed_draws import (
    DELAY,
    FRACTION,
    MISS,
    PARTIAL,
    PER_ORDER,
    SLIPPAGE,
    START,
    delay_of,
    key_of,
    multiple_of,
    uniform,
)
from research.validation.replayed_execution import ExecutionRandomness
from research.validation.replayed_market import decisions_of
from research.validation.replayed_records import FIGURES


def replay_accounts(
    bars: pl.DataFrame,
    targets: Column,
    randomness: ExecutionRandomness,
    *,
    paths: int = 200,
    seed: int,
    threads: int = 2,
    points: int = FAN_POINTS,
    **run: Any,
) -> PathsResult:
    """Return the distribution of a run's figures over backtests of randomly executed targets.

    Parameters
    ----------
    bars, targets
        As :func:`research.backtest.simulate` takes them.
    randomness : ExecutionRandomness
        What is drawn, see :func:`drawn_run`; the numbers of path p are those of the order-level replay's path p.
    paths, seed, threads, points : int
        As for :meth:`research.validation.replayed_execution.ReplayedExecution.paths`.
    **run
        Further keywords of ``simulate``: instrument, costs, margin, exits, orders, funding and so on. Explicit orders
        are executed as given.

    Returns
    -------
    PathsResult
        As of the order-level replay, liquidated and ruined paths included: ``is_liquidated`` tells them.

    Raises
    ------
    InvalidInput
        As ``simulate``; if slippage is drawn and costs or exits are counted in units; or if a number is out of range.
    """
    for name, value, least in (("paths", paths, 1), ("threads", threads, 1), ("points", points, 2), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise InvalidInput(name, f"must be a whole number of at least {least}", value)
    ts, _ = clock_of(bars)
    _, last = day_ends(ts)
    at = fan_positions(last.size, points)
    names = [*PATH_STATISTICS, *FIGURES]
    out, fan = np.empty((paths, len(names))), np.empty((min(paths, FAN_PATHS), at.size))
    plain = ExecutionRandomness()

    def work(path: int) -> None:
        told, missed, begin = _drawn(bars, targets, randomness, path, seed, run)
        out[path], marks = _figures(simulate(bars, **told), last, at.astype(np.int64), begin, missed)
        if path < fan.shape[0]:
            fan[path] = marks

    told, _, _ = _drawn(bars, targets, plain, 0, 0, run)
    observed, _ = _figures(simulate(bars, **told), last, at.astype(np.int64), 0, 0)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(paths)))
    return PathsResult(
        method="replayed_account",
        randomness=randomness.described,
        unit="day",
        observed=dict(zip(names, observed.tolist(), strict=True)),
        paths=pl.DataFrame(out, schema=names),
        fixed=dict.fromkeys(names, "nothing is random") if randomness.described == "none" else {},
        fan_at=at,
        fan_values=fan,
    )


def drawn_run(
    bars: pl.DataFrame, targets: Column, randomness: ExecutionRandomness, path: int, *, seed: int, **run: Any
) -> dict[str, Any]:
    """Return the keywords of one path's backtest: ``simulate(bars, **drawn_run(...))``.

    A delayed target is given, and its order sized, so many bars later, and never before the target that was given
    before it. A missed one is not given at all. Of one filled in part the account is told a target part of the way from
    the one before, and where rests are carried the whole one a bar later. The drawn multiple of spread and fixed
    slippage holds for all fills until the next target, those of exits included.

    Raises
    ------
    InvalidInput
        As :func:`replay_accounts`.
    """
    return _drawn(bars, targets, randomness, path, seed, run)[0]


def _drawn(
    bars: pl.DataFrame, targets: Column, randomness: ExecutionRandomness, path: int, seed: int, run: dict[str, Any]
) -> tuple[dict[str, Any], int, int]:
    """Return the keywords of one path's backtest, how many targets are missed, and the bar in which it begins."""
    ts, _ = clock_of(bars)
    given, wanted = decisions_of(column_of(targets, ts, "targets"))
    draws = np.empty((given.size, 4))
    low, high = randomness.slippage_range
    draw_orders(
        seed, path, given, np.cumsum(randomness.delay_probabilities), randomness.slippage_multiple,
        randomness.slippage_log_sd, low, high, randomness.miss_probability, randomness.partial_probability,
        *randomness.partial_range, draws,
    )  # fmt: skip
    starts = math.ceil(randomness.start_frac * given.size)
    first = 0
    if starts > 1:
        first = min(int(uniform(np.uint64(key_of(seed, path)), START) * starts), starts - 1)
    told, multiples = np.full(ts.size, math.nan), np.full(ts.size, math.nan)
    carries, before, earliest, missed = randomness.partial_rest == "carry", 0.0, 0, 0
    kept = zip(draws[first:], given[first:], wanted[first:], strict=True)
    for (delay, multiple, is_missed, share), bar, target in kept:
        if is_missed:
            missed += 1
            continue
        at = max(int(bar) + int(delay), earliest)
        if at >= ts.size:
            break
        told[at:] = math.nan  # the rest of the one before, if it has not been given yet
        told[at] = before + share * (target - before)
        if share < 1.0 and carries and at + 1 < ts.size:
            told[at + 1] = target
        before, earliest = target if share == 1.0 or carries else told[at], at
        multiples[at] = multiple
    keywords = {**run, "targets": told}
    begin = int(given[first]) if starts > 1 else 0
    if randomness.slippage_log_sd > 0.0 or low < high:
        return _with_multiples(bars, keywords, multiples), missed, begin
    costs, scale = run.get("costs", Costs()), randomness.slippage_multiple * low
    half, fixed = costs.half_spread_bps * scale, costs.slippage_bps * scale
    keywords["costs"] = replace(costs, half_spread_bps=half, slippage_bps=fixed)
    return keywords, missed, begin


def _with_multiples(bars: pl.DataFrame, keywords: dict[str, Any], multiples: FloatArray) -> dict[str, Any]:
    """Return the keywords with spread and fixed slippage counted in units that follow the drawn multiples."""
    costs, exits = keywords.get("costs", Costs()), keywords.get("exits")
    if costs.reads_unit or (exits is not None and exits.reads_unit) or keywords.get("unit") is not None:
        raise InvalidInput("slippage", "cannot be drawn where costs or exits are counted in units", "unit")
    if keywords.get("orders") is not None:
        raise InvalidInput("slippage", "cannot be drawn beside explicit orders", "orders")
    at = np.maximum.accumulate(np.where(np.isnan(multiples), -1, np.arange(multiples.size)))
    standing = np.where(at >= 0, multiples[np.maximum(at, 0)], 1.0)
    distance = arrays(bars, ["close"])[0] * costs.adverse_frac * standing
    told = replace(costs, half_spread_bps=0.0, slippage_bps=0.0, slippage_unit_frac=1.0)
    return {**keywords, "costs": told, "unit": distance}


@kernel
def draw_orders(
    seed: int, path: int, given: IntArray, cumulative: FloatArray, scale: float, log_sd: float, low: float, high: float,
    miss: float, partial: float, least: float, most: float, out: FloatArray,
) -> None:  # fmt: skip
    """Write delay, multiple of the slippage, whether it is missed, and the part filled at first of each order."""
    key = key_of(seed, path)
    for i in range(given.shape[0]):
        number = given[i] * PER_ORDER
        out[i, 0] = delay_of(uniform(key, number + DELAY), cumulative)
        out[i, 1] = multiple_of(uniform(key, number + SLIPPAGE), scale, log_sd, low, high)
        out[i, 2] = 1.0 if uniform(key, number + MISS) < miss else 0.0
        out[i, 3] = 1.0
        if uniform(key, number + PARTIAL) < partial:
            out[i, 3] = least + (most - least) * uniform(key, number + FRACTION)


def _figures(result: Result, last: IntArray, at: IntArray, begin: int, missed: int) -> tuple[FloatArray, FloatArray]:
    """Return a backtest's figures in the order of the order-level replay's, and its equity at the fan's points."""
    equity, cash = result.ledger.rows["equity"], result.initial_cash_quote
    fills, metrics = result.ledger.fills, result.metrics()
    first_day = int(np.searchsorted(last, begin))
    daily = np.concatenate(([cash], equity[last[first_day:]]))
    before = np.maximum(daily[:-1], np.finfo(float).tiny)  # a ruined account earns nothing any more
    returns = np.where(daily[:-1] > 0.0, daily[1:] / before - 1.0, 0.0)
    statistics = np.empty(len(PATH_STATISTICS))
    if returns.size > 1:
        path_statistics(returns, True, np.empty(0, np.int64), np.empty(0), statistics)
    else:
        statistics[1] = math.nan
    marked = np.unique(np.concatenate((last, fills["bar"])))
    way = np.concatenate(([cash], equity[marked]))
    peaks = np.maximum.accumulate(way)
    is_under = (way < peaks)[1:][np.searchsorted(marked, last)][first_day:]
    runs = np.diff(np.flatnonzero(np.concatenate(([True], ~is_under, [True])))) - 1
    statistics[[0, 3, 4]] = daily[-1] / cash - 1.0, float(np.min(way / peaks - 1.0)), float(way.min()) / cash - 1.0
    statistics[2], statistics[5:] = metrics["profit_factor"], (is_under.mean(), runs.max())
    orders = result.ledger.orders
    refused = float((orders["status"] == int(Status.REJECTED)).sum())
    figures = [
        float(fills["fee"].sum()), float(result.ledger.rows["funding"].sum()), float(fills["slippage"].sum()),
        float(fills.size), metrics["trades"], float(orders.size + result.pending.size), float(missed), refused,
        float(equity[-1]), float(metrics["liquidations"] > 0 or result.is_ruined),
    ]  # fmt: skip
    marks = np.where(at <= first_day, cash, equity[last[np.maximum(at - 1, 0)]])
    return np.concatenate((statistics, figures)), marks
