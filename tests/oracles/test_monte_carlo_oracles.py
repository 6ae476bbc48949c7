"""Monte Carlo against closed forms and against every possible outcome, in plain Python that knows no kernel."""

import itertools
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from research.execution import Costs
from research.market.bars import TS
from research.market.instruments import sample_instrument
from research.validation.fan import PATH_STATISTICS
from research.validation.replayed_execution import ExecutionRandomness, ReplayedExecution
from research.validation.resampling import resample_trades

HOUR, START = 3_600 * 10**9, 1_704_067_200 * 10**9
PATHS = 20_000


def way_of(returns, compounding):
    """Return total, depth, lowest, share and longest time under water of one order of returns."""
    equity = [1.0 if compounding else 0.0]
    for value in returns:
        equity.append(equity[-1] * (1 + value) if compounding else equity[-1] + value)
    peaks = list(itertools.accumulate(equity, max))
    depth = min(e / p - 1 if compounding else e - p for e, p in zip(equity, peaks, strict=True))
    under = [e < p for e, p in zip(equity, peaks, strict=True)][1:]
    longest = max((len(list(run)) for is_under, run in itertools.groupby(under) if is_under), default=0)
    return equity[-1] - equity[0], depth, min(equity) - equity[0], sum(under) / len(under), longest


def assert_mean(found, exact, weights=None):
    """The mean over paths is the exact one within four of its standard errors."""
    mean = np.average(exact, weights=weights)
    spread = math.sqrt(np.average((np.asarray(exact) - mean) ** 2, weights=weights))
    assert abs(np.mean(found) - mean) < 4 * spread / math.sqrt(len(found)) + 1e-12


@pytest.mark.parametrize("compounding", [True, False])
def test_shuffled_trades_are_distributed_as_all_their_orders(compounding):
    trades = [0.12, -0.08, 0.045, -0.06, 0.2, -0.095, 0.03]
    every = np.array([way_of(order, compounding) for order in itertools.permutations(trades)])
    paths = resample_trades(trades, paths=PATHS, seed=2, methods=("shuffle",), compounding=compounding)["shuffle"].paths
    for name, exact in zip(PATH_STATISTICS[3:], every.T[1:], strict=True):
        found = paths[name].to_numpy()
        assert set(found.round(9)) <= set(exact.round(9)), name
        assert_mean(found, exact)
        for level in np.unique(exact.round(9)):
            share = (exact <= level + 1e-9).mean()
            assert abs((found <= level + 1e-9).mean() - share) < 4.5 * math.sqrt(share * (1 - share) / PATHS) + 1e-12


def test_published_drawdowns_of_all_orders_of_seven_trades():
    # 5,040 orders of 120, -80, 45, -60, 200, -95, 30: mean 159.571, quantiles 155, 235, 235 by enumeration.
    every = [way_of(order, False)[1] for order in itertools.permutations([120, -80, 45, -60, 200, -95, 30])]
    assert np.mean(every) == pytest.approx(-159.57142857142858, rel=1e-12)
    result = resample_trades(
        [120, -80, 45, -60, 200, -95, 30], paths=PATHS, seed=1, methods=("shuffle",), compounding=False
    )["shuffle"]
    assert_mean(result.paths["max_drawdown"].to_numpy(), every)
    assert result.interval("max_drawdown", 0.9)[0] == -235.0
    assert result.table()["median"][3] == -155.0


def test_the_total_of_shuffled_trades_is_one_number():
    trades = np.random.default_rng(4).normal(0.002, 0.03, 150)
    result = resample_trades(trades, paths=500, seed=1, methods=("shuffle", "rotate"))
    for name in ("shuffle", "rotate"):
        ends = result[name].fan_values[:, -1]  # multiplied up, each in its own order
        assert np.allclose(ends, np.prod(1 + trades), rtol=1e-12, atol=0.0)
        assert np.ptp(result[name].fan_values[:, 50]) > 0.1


def test_iid_bootstrap_is_distributed_as_all_resamples():
    trades = [3.0, -2.0, 1.5, -1.0, 2.0]
    every = list(itertools.product(trades, repeat=5))
    paths = resample_trades(trades, paths=PATHS, seed=3, methods=("bootstrap",), compounding=False)["bootstrap"].paths
    factor = paths["profit_factor"].to_numpy()
    exact = np.array(
        [sum(v for v in p if v > 0) / loss if (loss := -sum(v for v in p if v < 0)) else math.inf for p in every]
    )
    assert np.isposinf(exact).mean() == 0.07776  # 0.6 to the power of 5
    for holds in (np.isposinf, lambda f: f < 1.0, lambda f: f > 3.0):
        assert_mean(holds(factor), holds(exact).astype(float))
    assert not np.isneginf(factor).any()
    assert_mean(paths["under_water_share"].to_numpy(), [way_of(p, False)[3] for p in every])
    assert_mean(paths["longest_under_water"].to_numpy(), [way_of(p, False)[4] for p in every])


@pytest.mark.parametrize("sharpe", [0.0, 0.1, 0.5])
def test_the_spread_of_bootstrapped_sharpe_ratios_is_the_analytic_error(sharpe):
    # A. Lo, "The Statistics of Sharpe Ratios", FAJ 58(4), 2002, eq. 9, for normal returns; with the sample's own skew
    # and kurtosis as E. Mertens has it (2002). The sample is scaled to the Sharpe ratio asked for.
    n = 800
    draw = np.random.default_rng(8).standard_normal(n)
    draw = (draw - draw.mean()) / draw.std(ddof=1) + sharpe
    z = (draw - draw.mean()) / draw.std()
    found = resample_trades(draw, paths=8_000, seed=5, methods=("bootstrap",), compounding=False)["bootstrap"]
    spread = found.paths["sharpe"].to_numpy().std()
    mertens = math.sqrt((1 - np.mean(z**3) * sharpe + (np.mean(z**4) - 1) / 4 * sharpe**2) / n)
    assert spread == pytest.approx(mertens, rel=0.03)  # four standard errors of a spread of 8,000 paths
    assert spread == pytest.approx(math.sqrt((1 + sharpe**2 / 2) / n), rel=0.06)
    low, high = found.interval("sharpe", 0.95)
    assert high - low == pytest.approx(2 * 1.96 * mertens, rel=0.06)


def test_a_random_start_leaves_out_every_number_of_trades_alike():
    trades = [0.1, -0.05, 0.02, -0.03, 0.07, -0.01]
    kept = [trades[k:] for k in range(4)]
    exact = np.array([way_of(part, True) for part in kept])
    paths = resample_trades(trades, paths=PATHS, seed=1, methods=("start",), max_dropped_frac=0.5)["start"].paths
    for name, values in zip(("total", *PATH_STATISTICS[3:]), exact.T, strict=True):
        found = paths[name].to_numpy()
        assert set(found.round(12)) == set(values.round(12)), name
        assert_mean(found, values)


# ---------------------------------------------------------------- executions
def market_of(opened, closed):
    ts = pl.Series("ts", START + HOUR * np.arange(len(opened))).cast(TS)
    frame = pl.DataFrame({"ts": ts, "open": opened, "close": closed}, schema_overrides={"ts": TS})
    return frame.with_columns(high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close"))


TERMS = sample_instrument("SOLUSDT").terms[0]
WHOLE = replace(
    sample_instrument("SOLUSDT"), terms=(replace(TERMS, qty_step=1.0, min_qty=1.0, min_notional_quote=0.0, tick=1.0),)
)
OPENED = [1000.0, 1000.0, 1120.0, 1040.0, 1085.0, 1025.0, 1115.0, 1085.0, 1085.0, 1085.0]
LOTS = [1.0, 0.0, 2.0, -1.0, 0.0, math.nan, 1.0, math.nan, 0.0, math.nan]
RUN = ReplayedExecution(
    market_of(OPENED, [*OPENED[1:], 1085.0]), LOTS, instrument=WHOLE, costs=Costs(taker_fee_bps=10.0),
    targets_in="lots", initial_cash_quote=1e6,
)  # fmt: skip
ORDERS = [(0, 1), (1, 0), (2, 2), (3, -1), (4, 0), (6, 1), (8, 0)]


def outcome(fates):
    """Return the profit of the orders: per order (bars late, or None where it is missed; part filled first)."""
    position, cash, busy_until, waiting = 0, 0.0, -1, list(zip(ORDERS, fates, strict=True))
    rest = None
    for bar in range(len(OPENED)):
        trade = 0
        if rest is not None and rest[0] == bar:
            trade = rest[1] - position
            if rest[2] is not None:
                trade = int(math.copysign(math.floor(abs(trade) * rest[2]), trade))
            if rest[3]:
                trade = 0
            carried = not rest[3] and rest[2] is not None and trade != rest[1] - position
            rest = (bar + 1, rest[1], None, False) if carried else None
        position += trade
        cash -= trade * OPENED[bar] + abs(trade) * OPENED[bar] * 1e-3
        busy_until = busy_until if busy_until > bar else -1
        given = [(order, fate) for order, fate in waiting if order[0] <= bar]
        if busy_until < 0 and given:
            (_, target), (late, part) = given[-1]
            waiting = waiting[len(given) :]
            rest = None
            if target != position:
                busy_until = bar + 1 + (late or 0)
                rest = (busy_until, target, part, late is None)
    return cash + position * 1085.0


def test_missed_orders_are_distributed_as_all_their_patterns():
    paths = RUN.paths(ExecutionRandomness(miss_probability=0.3), paths=PATHS, seed=1).paths
    found = paths["final_equity"].to_numpy() - 1e6
    patterns = list(itertools.product([True, False], repeat=len(ORDERS)))
    exact = [outcome([(None if is_missed else 0, None) for is_missed in pattern]) for pattern in patterns]
    weights = [math.prod(0.3 if is_missed else 0.7 for is_missed in pattern) for pattern in patterns]
    assert set(found.round(6)) == set(np.round(exact, 6))
    assert_mean(found, exact, weights)
    assert_mean(found < 0.0, (np.array(exact) < 0.0).astype(float), weights)
    assert_mean(found**2, np.array(exact) ** 2, weights)


def test_delayed_orders_are_distributed_as_all_their_delays():
    chances = (0.5, 0.3, 0.2)
    paths = RUN.paths(ExecutionRandomness(delay_probabilities=chances), paths=PATHS, seed=1).paths
    found = paths["final_equity"].to_numpy() - 1e6
    delays = list(itertools.product(range(3), repeat=len(ORDERS)))
    exact = [outcome([(late, None) for late in pattern]) for pattern in delays]
    weights = [math.prod(chances[late] for late in pattern) for pattern in delays]
    assert set(found.round(6)) <= set(np.round(exact, 6))
    assert_mean(found, exact, weights)
    assert_mean(found**2, np.array(exact) ** 2, weights)


def test_partly_filled_orders_are_distributed_as_all_their_patterns():
    asked = ExecutionRandomness(partial_probability=0.4, partial_range=(0.5, 0.5))
    found = RUN.paths(asked, paths=PATHS, seed=1).paths["final_equity"].to_numpy() - 1e6
    patterns = list(itertools.product([0.5, None], repeat=len(ORDERS)))
    exact = [outcome([(0, part) for part in pattern]) for pattern in patterns]
    weights = [math.prod(0.4 if part else 0.6 for part in pattern) for pattern in patterns]
    assert set(found.round(6)) == set(np.round(exact, 6))
    assert_mean(found, exact, weights)


def test_missed_trades_have_the_mean_and_spread_of_their_closed_form():
    # Each of six trades is filled with probability 0.8 or skipped: mean 0.8 Σx = 68, variance 0.16 Σx² (75.29).
    trades, totals = [120.0, -80.0, 45.0, -60.0, 90.0, -30.0], np.zeros(PATHS)
    for k, earned in enumerate(trades):
        bars = market_of([1000.0, 1000.0, 1000.0 + earned], [1000.0, 1000.0 + earned, 1000.0 + earned])
        run = ReplayedExecution(
            bars, [1.0, math.nan, math.nan], instrument=WHOLE, costs=Costs(taker_fee_bps=0.0), targets_in="lots"
        )
        paths = run.paths(ExecutionRandomness(miss_probability=0.2), paths=PATHS, seed=k).paths
        totals += paths["final_equity"].to_numpy() - 10_000.0
    assert abs(totals.mean() - 68.0) < 4 * 75.28612089887484 / math.sqrt(PATHS)
    assert totals.std() == pytest.approx(75.28612089887484, rel=0.03)
    assert (totals < -1e-9).mean() == pytest.approx(0.231168, abs=4 * math.sqrt(0.2312 * 0.7688 / PATHS))


def test_a_round_trip_pays_slippage_and_fees_on_both_fills():
    # Entry 100 and exit 102 at 5 bps of slippage and 5.5 bps of fee: 100.05, 101.949, net 1.7870070464767768 %.
    fine = replace(WHOLE, terms=(replace(WHOLE.terms[0], tick=1e-12),))
    run = ReplayedExecution(
        market_of([100.0, 100.0, 102.0], [100.0, 102.0, 102.0]), [1.0, 0.0, math.nan], instrument=fine,
        costs=Costs(slippage_bps=5.0, taker_fee_bps=5.5), targets_in="lots",
    )  # fmt: skip
    path = run.path(ExecutionRandomness(), 0, seed=1)
    entry, left = path.events.filter(outcome="filled")["price"]
    assert (entry, left) == (pytest.approx(100.05, rel=1e-10), pytest.approx(101.949, rel=1e-10))
    assert (path.figures["final_equity"] - 10_000.0) / entry == pytest.approx(0.017870070464767768, rel=1e-9)
