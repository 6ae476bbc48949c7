"""The ladder of assumptions: rows are backtests of their own, and break-even levels are where a gain is gone."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from research.backtest import simulate
from research.errors import InvalidInput
from research.execution import Costs
from research.market.bars import TS
from research.market.instruments import sample_instrument
from research.market.simulated import simulate_market
from research.market.simulated_spec import MarketSpec
from research.validation.ladder import (
    ASSUMPTIONS,
    RUNGS,
    BreakEven,
    assuming,
    assumption_ladder,
    break_even,
    break_even_table,
)
from research.validation.stress_market import History, Market


@pytest.fixture(scope="module")
def market():
    """A perpetual of four days, and a trader who knows the next two hours: it has something to lose to costs."""
    found = simulate_market(MarketSpec(days=4, seed=5))
    part = History(
        found.bars["linear", "SOLUSDT"], found.instruments["linear", "SOLUSDT"], found.mark["SOLUSDT"],
        found.funding["SOLUSDT"],
    )  # fmt: skip
    return Market({"SOLUSDT": part}, Costs(half_spread_bps=1.0, slippage_bps=1.0))


class Counted:
    """A trader that counts its runs."""

    def __init__(self, sign=1.0):
        self.sign, self.runs = sign, 0

    def __call__(self, market):
        self.runs += 1
        part = market.reference
        close = part.bars["close"].to_numpy()
        at = np.arange(120, close.size - 120, 120)
        targets = np.full(close.size, np.nan)
        targets[at] = self.sign * np.sign(close[at + 120] - close[at])
        return simulate(
            part.bars, targets, instrument=part.instrument, costs=market.costs, funding=part.funding, mark=part.mark,
            latency_bars=market.latency_bars,
        )  # fmt: skip


def test_each_row_is_the_backtest_under_its_assumption(market):
    table = assumption_ladder(market, Counted())
    assert table.select("assumption", "level").rows() == [(name, x) for name, levels in RUNGS.items() for x in levels]
    trade = Counted()
    worse = {
        "fee_bps": lambda x: replace(market, costs=replace(market.costs, taker_fee_bps=x, maker_fee_bps=x)),
        "half_spread_bps": lambda x: replace(market, costs=replace(market.costs, half_spread_bps=x)),
        "slippage_bps": lambda x: replace(market, costs=replace(market.costs, slippage_bps=x)),
        "delay_bars": lambda x: replace(market, latency_bars=int(x)),
    }
    for name, change in worse.items():
        rows = table.filter(pl.col("assumption") == name)
        assert rows["net_return"].to_list() == [trade(change(x)).metrics()["total_return"] for x in RUNGS[name]]
        if name != "delay_bars":
            assert (np.diff(rows["net_return"]) < 0).all()
    funded = table.filter(pl.col("assumption") == "funding_bps")
    assert funded["net_return"][0] == trade(market).metrics()["total_return"]
    assert (np.diff(funded["funding"]) < 0).all()


def test_worse_funding_is_paid_on_the_position_held(market):
    plain = Counted()(market)
    known = market.with_held(plain)
    worse = Counted()(assuming(known, "funding_bps", 10.0))
    fills = plain.positions["SOLUSDT"].to_numpy()
    before = fills[np.arange(480, market.ts.size, 480) - 1]
    mark = market.reference.mark["open"].to_numpy()[480::480]
    expected = np.abs(before) @ mark * 10.0 / 1e4
    # Sizes follow an equity that is smaller by what was paid.
    assert plain.metrics()["funding"] - worse.metrics()["funding"] == pytest.approx(expected, rel=0.03)
    with pytest.raises(InvalidInput, match=r"SOLUSDT\.held must be known"):
        assuming(market, "funding_bps", 1.0)


@pytest.mark.parametrize(("assumption", "high", "tolerance"), [("fee_bps", 400.0, 0.01), ("slippage_bps", 400.0, 0.05)])
def test_break_even_lies_between_a_gain_and_none(market, assumption, high, tolerance):
    trade = Counted()
    found = break_even(market, trade, assumption, high=high, tolerance=tolerance)
    assert found.runs == trade.runs < 20
    assert 0.0 < found.level < high
    gains = [
        trade(assuming(market, assumption, found.level + side * tolerance)).metrics()["total_return"]
        for side in (-1.0, 1.0)
    ]
    assert gains[0] > 0.0 >= gains[1]


def one_trade(prices, costs=Costs()):  # noqa: B008
    """Buy everything after the first bar and sell after the fourth, at opens."""
    ts = pl.Series("ts", 1_704_067_200 * 10**9 + 60 * 10**9 * np.arange(len(prices))).cast(TS)
    bars = pl.DataFrame({"ts": ts} | {name: np.asarray(prices, float) for name in ("open", "high", "low", "close")})
    market = Market({"SOLUSDT": History(bars, sample_instrument("SOLUSDT"))}, costs)
    targets = np.full(len(prices), np.nan)
    targets[[0, 3]] = 1.0, 0.0
    runs = []

    def trade(market):
        runs.append(market)
        part = market.reference
        return simulate(
            part.bars, targets, instrument=part.instrument, costs=market.costs, latency_bars=market.latency_bars,
            initial_cash_quote=1e6,
        )  # fmt: skip

    return market, trade, runs


def test_break_even_fee_of_one_trade_is_the_gain_over_what_was_traded():
    market, trade, runs = one_trade([100.0, 100.0, 101.0, 102.0, 102.0, 102.0])
    found = break_even(market, trade, "fee_bps", high=500.0, tolerance=1e-6)
    assert found.level == pytest.approx(2.0 / 202.0 * 1e4, abs=1e-6)  # two trades of 100 and 102, gain 2
    assert found.runs == len(runs) <= 12


def test_break_even_delay_is_the_first_bar_too_late():
    # Bought d bars later at a higher price, sold at 110 whatever the delay: at 3 bars it costs what it brings.
    market, trade, _ = one_trade([100.0, 100.0, 104.0, 108.0, 110.0, 110.0, 110.0, 110.0, 110.0], Costs(0.0, 0.0))
    gains = [trade(assuming(market, "delay_bars", k)).metrics()["total_return"] for k in range(5)]
    assert [gain > 0.0 for gain in gains] == [True, True, True, False, False]
    assert break_even(market, trade, "delay_bars", high=4).level == 3.0
    assert break_even(market, trade, "delay_bars", high=2).level == np.inf


class Told:
    """A result that only says what was gained."""

    def __init__(self, gain):
        self.gain = gain

    def metrics(self):
        names = ("sharpe", "max_drawdown", "profit_factor", "trades", "fees", "slippage", "interest", "funding")
        return dict.fromkeys((*names, "liquidations", "is_ruined"), 0.0) | {"total_return": self.gain}


def test_a_gain_that_falls_fast_and_then_hardly_takes_few_runs_all_the_same(market):
    found = break_even(
        market, lambda m: Told(np.exp(-m.costs.slippage_bps) - 1e-3), "slippage_bps", high=100.0, tolerance=1e-6
    )
    assert found.level == pytest.approx(np.log(1e3), abs=1e-6)
    assert found.runs < 40


def test_a_fee_is_of_every_fill(market):
    costs = assuming(market, "fee_bps", 7.0).costs
    assert (costs.taker_fee_bps, costs.maker_fee_bps) == (7.0, 7.0)


def test_no_gain_is_0_and_a_gain_that_nothing_takes_is_infinite(market):
    assert break_even(market, Counted(-1.0), "fee_bps", high=100.0) == BreakEven("fee_bps", 0.0, 1)
    assert break_even(market, Counted(), "fee_bps", high=0.5) == BreakEven("fee_bps", np.inf, 2)


def test_break_even_of_several_assumptions_as_a_table(market):
    bounds = {"fee_bps": 400.0, "funding_bps": 5.0, "delay_bars": 100}
    table = break_even_table(market, Counted(), bounds, tolerance=1.0)
    assert table["assumption"].to_list() == list(bounds)
    assert table["high"].to_list() == [400.0, 5.0, 100.0]
    single = break_even(market, Counted(), "fee_bps", high=400.0, tolerance=1.0)
    assert table.row(0) == ("fee_bps", single.level, 400.0, single.runs)
    assert table["level"][1] == np.inf
    assert table["runs"][1] == 3  # one for the positions
    delay = table["level"][2]
    assert delay == np.inf or delay == int(delay)


def test_the_search_stops_at_its_last_run(market):
    trade = Counted()
    assert break_even(market, trade, "fee_bps", high=400.0, tolerance=1e-9, most=5).runs == trade.runs == 5


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda m: assuming(m, "rent_bps", 1.0), "assumption must be one of"),
        (lambda m: assuming(m, "fee_bps", -1.0), "fee_bps must be finite and at least 0"),
        (lambda m: assuming(m, "delay_bars", 1.5), "delay_bars must be a whole number"),
        (lambda m: assumption_ladder(m, None, {"rent": (1.0,)}), "rungs must name assumptions"),
        (lambda m: assumption_ladder(m, None, {"fee_bps": ()}), r"rungs\.fee_bps must have at least one"),
        (lambda m: break_even(m, None, "fee_bps", high=0.0), "high must be finite and above 0"),
        (lambda m: break_even(m, None, "fee_bps", high=1.0, tolerance=0.0), "tolerance must be"),
        (lambda m: break_even(m, None, "fee_bps", high=1.0, most=2), "most must be"),
        (lambda m: break_even(m, None, "delay_bars", high=1.5), "high must be a whole number"),
    ],
)
def test_what_is_wrong_is_named(market, call, named):
    with pytest.raises(InvalidInput, match=named):
        call(market)


def test_every_assumption_has_usual_rungs():
    assert set(RUNGS) == set(ASSUMPTIONS)
