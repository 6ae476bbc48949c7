"""Policies as the functions that stresses and controls trade with: the backtests they stand for."""

import numpy as np
import pytest

from research.backtest import Sweep, simulate, spec_at
from research.errors import InvalidInput
from research.execution import Costs
from research.market.bars import arrays, epoch_ns
from research.market.simulated import simulate_market
from research.market.simulated_spec import MarketSpec
from research.policy import BAR_INPUTS, Policy, PolicySpec
from research.predictor import Predictor
from research.validation.policy_trade import PolicyTrade, SearchedTrade
from research.validation.stress import stress
from research.validation.stress_market import History, Market

SPEC = PolicySpec(
    "1m", "5m", {"trend": {"feature": "ema_spread", "fast": 12, "slow": 48}, "efficiency": {"length": 24}}, "trend",
    {"trend": "trend", "quality": "efficiency"}, "fixed",
    strategy_params={"enter": 1.0, "exit": 0.25, "min_quality": 0.1}, sizer_params={"exposure": 0.5},
)  # fmt: skip
GRID = {"features.trend.fast": [6, 12], "strategy.enter": [0.5, 1.0, 2.0], "sizer.exposure": [0.3, 0.6]}


@pytest.fixture(scope="module")
def market():
    made = simulate_market(MarketSpec(days=6, seed=2))
    sol = ("linear", "SOLUSDT")
    history = History(made.bars[sol], made.instruments[sol], made.mark["SOLUSDT"], made.funding["SOLUSDT"])
    return Market({"SOLUSDT": history}, Costs(slippage_bps=1.0), latency_bars=1)


def by_hand(market, spec):
    bars = market.reference.bars
    decided = Policy(spec, Predictor.none()).push(
        epoch_ns(bars), dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True))
    )
    known = market.reference
    return simulate(
        bars, decided.exposures_per_bar(bars.height), instrument=known.instrument, costs=market.costs, mark=known.mark,
        funding=known.funding, latency_bars=1,
    )  # fmt: skip


def test_a_policy_trades_as_it_is_backtested_on_every_market(market):
    trade = PolicyTrade(Policy(SPEC, Predictor.none()))
    stressed = stress(market, {"atr": {"factor": 2.0}})
    dearer = stress(market, {"fees": {"factor": 2.0}})
    for given in (market, stressed, dearer, market):  # back again: no state of one market is left in the next
        assert trade(given).to_files() == by_hand(given, SPEC).to_files()


def test_a_search_trades_the_best_of_its_grid(market):
    found = SearchedTrade(SPEC, GRID)(market)
    known = market.reference
    table = Sweep(
        known.bars, SPEC, GRID, instrument=known.instrument, costs=market.costs, mark=known.mark, funding=known.funding,
        latency_bars=1,
    ).run(progress=False).table  # fmt: skip
    best = table.row(int(table["sharpe"].arg_max()), named=True)
    assert found.metrics()["sharpe"] == pytest.approx(best["sharpe"], rel=1e-12)
    assert found.to_files() == by_hand(market, spec_at(SPEC, {path: best[path] for path in GRID})).to_files()


def test_a_search_without_a_value_trades_the_first(market):
    never = SearchedTrade(SPEC, {"strategy.enter": [900.0, 999.0]})(market)
    assert never.trades.height == 0
    assert np.isnan(never.metrics()["sharpe"])


@pytest.mark.parametrize(
    ("call", "subject"),
    [
        (lambda m: PolicyTrade(Policy(SPEC, Predictor.none()), costs=Costs()), "costs"),
        (lambda m: PolicyTrade(Policy(SPEC, Predictor.none()))(
            Market({"a": m.reference, "b": m.reference}, m.costs)), "market.symbols"),
        (lambda m: SearchedTrade(SPEC, GRID, metric="luck")(m), "metric"),
        (lambda m: spec_at(SPEC, {"exits.stop_distance": 1.0}), r"params\.exits\.stop_distance"),
        (lambda m: spec_at(SPEC, {"features.moon.fast": 1}), r"params\.features\.moon\.fast"),
    ],
)  # fmt: skip
def test_what_is_not_a_policys_is_refused_by_name(market, call, subject):
    with pytest.raises(InvalidInput, match=subject):
        call(market)
