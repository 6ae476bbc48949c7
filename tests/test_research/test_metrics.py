"""Figures of curves and trades against published numbers, numbers by hand and plain loops."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput, SchemaMismatch
from research.execution import FILLS
from research.market.bars import TS
from research.metrics import (
    bar_returns,
    cagr,
    closed_trades,
    conditional_value_at_risk,
    cost_share,
    daily_equity,
    daily_returns,
    deepest_drawdown,
    downside_deviation,
    drawdown,
    expectancy,
    gross_gain,
    longest_drawdown_bars,
    max_drawdown,
    omega,
    payoff_ratio,
    performance,
    profit_factor,
    round_trips,
    sharpe,
    sortino,
    system_quality_number,
    thinned,
    total_return,
    ulcer_index,
    value_at_risk,
    volatility,
    win_rate,
)

START = 1_704_067_200 * 10**9
HOUR = 3_600 * 10**9
# Twelve trades whose statistics freqtrade's and backtesting.py's formulas confirm (cases 172).
TRADES_PNL = [120.0, -80, 45, -60, 200, -95, 30, 75, -40, 150, -110, 60]


def returns_of(seed):
    """Return the series of the cases below: seed, drift and scale are part of their definition."""
    rng = np.random.Generator(np.random.PCG64(seed))
    if seed == 365:
        return 0.0012 + 0.03 * rng.standard_t(5, size=730) / np.sqrt(5 / 3)
    return 0.00006 + 0.006 * rng.standard_t(5, size=1500) / np.sqrt(5 / 3)


def curve_of(returns):
    return np.concatenate(([1.0], np.cumprod(1.0 + returns)))


# ---------------------------------------------------------------- published
# Values on which empyrical-reloaded 0.7.1, quantstats 0.0.86 and vectorbt 1.2.0 agree (cases 151-153, 157-159).
@pytest.mark.parametrize(
    ("seed", "periods", "expected"),
    [
        (
            365,
            365,
            {
                "sharpe": -0.14987651451794723,
                "volatility": 0.5107097719207135,
                "sortino": -0.20712934105759334,
                "omega": 0.9798288697897625,
                "total_return": -0.3398032458946867,
                "cagr": -0.18747507477904823,
                "max_drawdown": -0.7056538657701547,
                "calmar": -0.2656756858753078,
                "ulcer": 0.4636502174393629,
                "underwater": 502,
                "var": -0.04371296117442966,
                "cvar": -0.057474888581802074,
            },
        ),
        (
            52,
            8760,
            {
                "sharpe": 3.713448754570647,
                "volatility": 0.5461524828178366,
                "sortino": 5.344137968900198,
                "omega": 1.1115496179044908,
                "total_return": 0.37950074132048384,
                "cagr": 5.546001780137597,
                "max_drawdown": -0.22083546932797693,
                "calmar": 25.11372741441672,
                "ulcer": 0.10097611654756593,
                "underwater": 995,
                "var": -0.009157202448989411,
                "cvar": -0.012977417349155784,
            },
        ),
    ],
)
def test_three_libraries_agree_with_these(seed, periods, expected):
    returns = returns_of(seed)
    curve = curve_of(returns)
    rate = cagr(curve[-1], returns.size, periods)
    found = {
        "sharpe": sharpe(returns, periods),
        "volatility": volatility(returns, periods),
        "sortino": sortino(returns, periods),
        "omega": omega(returns),
        "total_return": total_return(returns),
        "cagr": rate,
        "max_drawdown": max_drawdown(curve),
        "calmar": rate / abs(max_drawdown(curve)),
        "ulcer": ulcer_index(curve),
        "underwater": longest_drawdown_bars(curve),
        "var": value_at_risk(returns),
        "cvar": conditional_value_at_risk(returns),
    }
    assert found == pytest.approx(expected, rel=1e-8)  # the digits given


def test_published_ratios():
    # Bacon (2008), as in the PerformanceAnalytics documentation (case 163).
    bacon = [
        0.003, 0.026, 0.011, -0.01, 0.015, 0.025, 0.016, 0.067, -0.014, 0.04, -0.005, 0.081,
        0.04, -0.037, -0.061, 0.017, -0.049, -0.022, 0.07, 0.058, -0.065, 0.024, -0.005, -0.009,
    ]  # fmt: skip
    assert downside_deviation(bacon, 0.005) == pytest.approx(0.02553673824120849, rel=1e-9)
    assert sortino(bacon, 1, 0.005) == pytest.approx(0.15663707566008667, rel=1e-9)
    assert omega(bacon, 0.005) - 1 == pytest.approx(0.29179331306990863, rel=1e-9)
    # Rollinger & Hoffman (2013), "Sortino: a 'sharper' ratio": 4.417 (case 167).
    red_rock = [0.17, 0.15, 0.23, -0.05, 0.12, 0.09, 0.13, -0.04]
    assert sortino(red_rock, 1) == pytest.approx(4.417261042993862, rel=1e-9)
    # investexcel.net Sharpe worksheet: 0.834364 (case 169).
    worksheet = [0.259, 0.198, 0.364, -0.081, 0.057, 0.055, 0.188, 0.317, 0.24, 0.184, -0.01, 0.526]
    assert sharpe(worksheet, 1, risk_free=0.05) == pytest.approx(0.8343639209671239, rel=1e-8)


def test_trade_statistics():
    assert profit_factor(TRADES_PNL) == pytest.approx(1.7662337662337662, rel=1e-12)
    assert win_rate(TRADES_PNL) == 7 / 12
    assert expectancy(TRADES_PNL) == pytest.approx(24.583333333333332, rel=1e-14)
    assert payoff_ratio(TRADES_PNL) == pytest.approx(1.261595547309833, rel=1e-12)
    assert system_quality_number(TRADES_PNL) == pytest.approx(0.8346060633196627, rel=1e-12)


# ---------------------------------------------------------------- edges
@pytest.mark.parametrize("level", [0.001, 0.1, -0.2, 0.0])
def test_a_constant_series_has_no_sharpe(level):
    returns = np.full(50, level)  # others report 2.4e16 or infinity for 50 x 0.001
    assert math.isnan(sharpe(returns, 365))
    assert math.isnan(sharpe(bar_returns(curve_of(returns)), 365))  # the same, with the rounding of a curve
    assert math.isnan(sharpe([], 365))
    assert math.isnan(sharpe([0.1], 365))


def test_ratios_without_a_loss_or_without_anything():
    assert profit_factor([10.0, 5.0, 1.0]) == math.inf
    assert profit_factor([-10.0]) == 0.0
    assert math.isnan(profit_factor([]))
    assert math.isnan(profit_factor([0.0, 0.0]))
    assert omega([0.1, 0.2]) == math.inf
    assert sortino([0.1, 0.2], 365) == math.inf
    for figure in (omega([0.0]), sortino([0.0, 0.0], 365), payoff_ratio([1.0]), win_rate([]), expectancy([])):
        assert math.isnan(figure)
    assert math.isnan(system_quality_number([3.0, 3.0]))
    assert win_rate([1.0, 0.0]) == 0.5


def test_infinities_and_gaps_in_a_series_are_refused_by_index():
    for function in (lambda x: sharpe(x, 365), omega, drawdown, profit_factor, value_at_risk):
        with pytest.raises(InvalidInput, match=r"\[1\] must be finite"):
            function([1.0, math.nan, 2.0])
    with pytest.raises(InvalidInput, match="one dimension"):
        sharpe([[0.1, 0.2]], 365)


def test_a_first_loss_is_a_drawdown():
    # Case 170: starting the peak after the first return reports 0.
    assert max_drawdown(curve_of(np.array([-0.1, 0.05, 0.02]))) == pytest.approx(-0.1, rel=1e-15)
    with pytest.raises(InvalidInput, match="positive"):
        drawdown([0.0, 1.0])


def test_the_deepest_drawdown_is_located():
    found = deepest_drawdown([100.0, 110.0, 99.0, 105.0, 110.0, 120.0, 60.0, 90.0])
    assert (found.depth, found.peak, found.trough, found.recovery) == (-0.5, 5, 6, -1)
    found = deepest_drawdown([100.0, 110.0, 55.0, 105.0, 110.0, 120.0, 119.0])
    assert (found.depth, found.peak, found.trough, found.recovery) == (-0.5, 1, 2, 4)
    assert deepest_drawdown([1.0, 2.0, 3.0]).depth == 0.0
    assert deepest_drawdown([100.0, -50.0]).depth == -1.5
    assert longest_drawdown_bars([1.0, 2.0, 3.0]) == 0


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=60))
def test_drawdown_equals_a_plain_loop(equity):
    peak, longest, run, deepest = equity[0], 0, 0, 0.0
    for value in equity:
        peak = max(peak, value)
        run = run + 1 if value < peak else 0
        longest, deepest = max(longest, run), min(deepest, (value - peak) / peak)
    assert max_drawdown(equity) == deepest
    assert longest_drawdown_bars(equity) == longest


def test_growth_at_its_limits():
    assert cagr(0.0, 10, 365.0) == cagr(-3.0, 10, 365.0) == -1.0
    assert cagr(2.0, 1, 525_600.0) == math.inf
    assert math.isnan(cagr(1.1, 0, 365.0))


def test_returns_of_a_ruined_account_are_zero():
    assert bar_returns([100.0, -50.0, -50.0, -50.0]).tolist() == [-1.5, 0.0, 0.0]
    assert bar_returns([110.0], initial_equity=100.0).tolist() == pytest.approx([0.1], rel=1e-14)


def test_daily_returns_begin_at_the_equity_before_the_first_bar():
    ts = START + 8 * HOUR * np.arange(7)  # two days, and the first bar of a third
    curve = np.array([101.0, 104.0, 110.0, 90.0, 95.0, 99.0, 108.9])
    found = daily_returns(ts, curve, 100.0)
    assert found == pytest.approx([0.1, -0.1, 0.1], rel=1e-12)  # a difference and a quotient each
    assert daily_returns(ts[:0], curve[:0], 100.0).size == 0
    assert daily_returns(ts, np.where(np.arange(7) > 2, -5.0, curve), 100.0)[2] == 0.0  # ruined the day before
    with pytest.raises(InvalidInput, match="finite"):
        daily_returns(ts, np.full(7, np.nan), 100.0)


def test_days_are_utc_days_of_the_bars_open():
    ts = START + 22 * HOUR + HOUR * np.arange(30)  # 22:00 to 03:00 two days later
    day, equity = daily_equity(ts, np.arange(30.0))
    assert (day - day[0]).tolist() == [0, 1, 2]
    assert equity.tolist() == [1.0, 25.0, 29.0]


# ---------------------------------------------------------------- closed trades
def make_fills(steps):
    """Return fills from (qty, price, fee, funding) with the position added up."""
    fills = np.zeros(len(steps), FILLS)
    position = 0.0
    for k, (qty, price, fee, funding) in enumerate(steps):
        position += qty
        row = fills[k]
        row["ts"], row["bar"], row["qty"], row["price"] = START + k * HOUR, k, qty, price
        row["fee"], row["funding"], row["position_qty"], row["slippage"] = fee, funding, position, abs(qty)
    return fills


def test_partial_exits_and_a_reversal_by_average_cost():
    trades = closed_trades(
        make_fills(
            [
                (10.0, 100.0, 1.0, 0.0),
                (10.0, 110.0, 1.0, -4.0),
                (-5.0, 120.0, 0.6, 0.0),  # closes a quarter of 20 at 105
                (-20.0, 90.0, 2.0, -3.0),  # closes 15 and opens -5
                (5.0, 80.0, 0.5, 0.7),
            ]
        )
    )
    assert trades["side"].tolist() == [1, 1, -1]
    assert trades["qty"].tolist() == [5.0, 15.0, 5.0]
    assert trades["entry_price"].tolist() == [105.0, 105.0, 90.0]
    assert trades["exit_price"].tolist() == [120.0, 90.0, 80.0]
    assert trades["gross"].tolist() == [75.0, -225.0, 50.0]
    assert trades["fee"].tolist() == pytest.approx([0.5 + 0.6, 1.5 + 1.5, 0.5 + 0.5], rel=1e-14)
    assert trades["funding"].tolist() == pytest.approx([-1.0, -6.0, 0.7], rel=1e-14)
    assert trades["slippage"].tolist() == pytest.approx([5 + 5, 15 + 15, 5 + 5], rel=1e-14)
    assert trades["pnl"].tolist() == pytest.approx([72.9, -234.0, 49.7], rel=1e-14)
    assert (trades["entry_bar"].tolist(), trades["exit_bar"].tolist()) == ([0, 0, 3], [2, 3, 4])
    assert trades["return_frac"][0] == pytest.approx(72.9 / 525.0, rel=1e-14)


def test_no_fill_and_an_open_position_make_no_trade():
    assert closed_trades(make_fills([])).size == 0
    assert closed_trades(make_fills([(3.0, 10.0, 0.1, 0.0), (2.0, 11.0, 0.1, 0.0)])).size == 0


def test_a_round_trip_ends_where_a_position_does_and_a_trade_at_each_reduction():
    steps = [(10.0, 100.0, 0.0, 0.0)] + [(-1.0, 101.0, 0.0, 0.0)] * 10  # built once, reduced in ten steps
    assert closed_trades(make_fills(steps)).size == 10
    assert round_trips(make_fills(steps)["position_qty"]) == 1
    assert round_trips(make_fills(steps[:-1])["position_qty"]) == 0  # a tenth of it is still open
    assert round_trips([1.0, -2.0, -1.0, 3.0]) == 2  # two reversals, the last position open
    assert round_trips([]) == 0
    with pytest.raises(InvalidInput, match=r"position_qty\[1\]"):
        round_trips([1.0, math.nan])


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_round_trips_equal_a_plain_loop_and_never_exceed_trades(positions):
    held, ended = 0, 0
    for after in positions:
        ended += held != 0 and (after == 0 or (after > 0) != (held > 0))
        held = after
    assert round_trips(positions) == ended
    moves = [(float(b - a), 100.0, 0.0, 0.0) for a, b in itertools.pairwise([0, *positions]) if b != a]
    if moves:
        assert ended <= closed_trades(make_fills(moves)).size


# ---------------------------------------------------------------- costs
def test_cost_share_counts_funding_and_does_not_exist_without_a_gain():
    assert gross_gain(100.0, 10.0, 5.0, -5.0) == 120.0
    assert cost_share(100.0, 10.0, 5.0, -5.0) == pytest.approx(20 / 120, rel=1e-15)
    assert cost_share(-5.0, 10.0, 5.0, 0.0) == pytest.approx(1.5, rel=1e-15)  # costs turned 10 into -5
    assert cost_share(120.0, 5.0, 0.0, 25.0) == pytest.approx(-0.2, rel=1e-15)  # funding paid for the fees
    for nothing in ((-20.0, 10.0, 5.0, 0.0), (0.0, 0.0, 0.0, 0.0), (math.inf, 1.0, 1.0, 0.0), (1.0, math.nan, 0, 0)):
        assert math.isnan(cost_share(*nothing))


# ---------------------------------------------------------------- thinning
def test_thinned_curves_keep_ends_extremes_and_unknown_stretches():
    values = np.random.Generator(np.random.PCG64(3)).normal(size=100_003).cumsum()
    values[5_000:9_000] = np.nan
    kept = thinned(values, 1_000)
    assert kept.size <= 1_002
    assert {0, 100_002, int(np.nanargmin(values)), int(np.nanargmax(values))} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()
    assert np.isnan(values[kept]).any()  # a hole stays one
    assert thinned(values[:1_000], 1_000).tolist() == list(range(1_000))
    assert thinned(np.full(10, np.nan), 4).tolist() == [0, 5, 9]


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(-9, 9).filter(bool), st.integers(50, 150), st.integers(0, 9), st.integers(-9, 9)),
        min_size=1,
        max_size=40,
    )
)
def test_trades_of_a_flat_account_add_up_to_its_cash(steps):
    fills = make_fills([(float(q), float(p), float(f), float(r)) for q, p, f, r in steps])
    rest = fills["position_qty"][-1]
    if rest:
        fills = np.concatenate((fills, make_fills([(-rest, 100.0, 1.0, 2.0)])))
        fills["position_qty"][-1] = 0.0
    trades = closed_trades(fills)
    cash = -(fills["qty"] * fills["price"]).sum() - fills["fee"].sum()
    assert trades["pnl"].sum() == pytest.approx(cash + fills["funding"].sum(), abs=1e-8)
    assert (trades["qty"] > 0).all()


# ---------------------------------------------------------------- together
def test_performance_by_hand():
    # Three days of two bars; daily closes 110, 99, 118.8 from 100: returns 0.1, -0.1, 0.2.
    equity = pl.DataFrame(
        {"ts": START + 12 * HOUR * np.arange(6), "equity": [105.0, 110.0, 90.0, 99.0, 99.0, 118.8]}
    ).with_columns(pl.col("ts").cast(TS))
    trades = pl.DataFrame({"pnl": [30.0, -11.2]})
    found = performance(equity, trades, 730.0, initial_equity=100.0)
    daily = np.array([0.1, -0.1, 0.2])
    assert found["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * math.sqrt(365), rel=1e-12)
    assert found["sortino"] == pytest.approx(daily.mean() / math.sqrt(0.01 / 3) * math.sqrt(365), rel=1e-12)
    assert found["total_return"] == pytest.approx(0.188, rel=1e-12)
    assert found["max_drawdown"] == pytest.approx(-20 / 110, rel=1e-14)
    assert (found["longest_drawdown_bars"], found["days"], found["trades"]) == (3.0, 3.0, 2.0)
    assert found["profit_factor"] == pytest.approx(30 / 11.2, rel=1e-14)
    bars = bar_returns(equity["equity"].to_numpy(), 100.0)
    assert found["sharpe_bar"] == pytest.approx(sharpe(bars, 730.0), rel=1e-15)
    assert found["omega"] == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("bars", [364, 365, 730])
def test_yearly_rates_exist_from_a_year_on(bars):
    curve = 100.0 * 1.001 ** np.arange(1, bars + 1)
    curve[40] *= 0.9
    equity = pl.DataFrame({"ts": START + 24 * HOUR * np.arange(bars), "equity": curve}).with_columns(
        pl.col("ts").cast(TS)
    )
    found = performance(equity, pl.DataFrame({"pnl": [1.0]}), 365.0, initial_equity=100.0)
    assert found["total_return"] == pytest.approx(1.001**bars - 1, rel=1e-9)
    if bars < 365:
        assert math.isnan(found["cagr"])
        assert math.isnan(found["calmar"])
    else:
        assert found["cagr"] == pytest.approx(1.001**365 - 1, rel=1e-9)  # a power and a logarithm of sums
        assert found["calmar"] == pytest.approx(found["cagr"] / abs(found["max_drawdown"]), rel=1e-14)


def test_performance_of_nothing_is_nan_not_an_error():
    equity = pl.DataFrame({"ts": START + HOUR * np.arange(48), "equity": np.full(48, 100.0)}).with_columns(
        pl.col("ts").cast(TS)
    )
    found = performance(equity, pl.DataFrame({"pnl": pl.Series([], dtype=pl.Float64)}), 8760.0)
    assert found["total_return"] == found["max_drawdown"] == found["trades"] == 0.0
    for name in ("sharpe", "sharpe_bar", "sortino", "calmar", "profit_factor", "win_rate", "sqn", "omega"):
        assert math.isnan(found[name]), name
    with pytest.raises(InvalidInput, match="at least one bar"):
        performance(equity.clear(), pl.DataFrame({"pnl": [1.0]}), 8760.0)
    with pytest.raises(InvalidInput, match="bars_per_year"):
        performance(equity, pl.DataFrame({"pnl": [1.0]}), 0.0)
    with pytest.raises(SchemaMismatch, match="pnl"):
        performance(equity, pl.DataFrame({"profit": [1.0]}), 8760.0)
