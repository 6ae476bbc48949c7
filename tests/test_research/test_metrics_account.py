"""Figures over whole accounts, legs and long curves, against plain loops and pandas."""

import itertools
import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.errors import InvalidInput
from research.execution.records import FILLS, ROWS, Role
from research.market.bars import NS_PER_DAY
from research.metrics import (
    bar_returns,
    closed_positions,
    closed_trades,
    cost_share,
    curve_figures,
    curve_performance,
    day_ends,
    deepest_drawdown,
    drawdown,
    drawdown_table,
    drawdowns,
    excursions,
    exposures,
    gross_gain,
    longest_drawdown_bars,
    mean_exposure,
    monthly_returns,
    pair_positions,
    positions_at_closes,
    rolling_figures,
    round_trips,
    sharpe,
    totals,
    ulcer_index,
    value_at_risk,
)

HOUR = 3_600 * 10**9
START = 1_704_067_200 * 10**9
equities = st.lists(st.integers(1, 400).map(float), min_size=1, max_size=60)


def fills_of(deals):
    """Return fills from (bar, leg, lots, price), positions of one base unit a lot added up per leg."""
    found, held = np.zeros(len(deals), FILLS), {}
    for k, (bar, leg, lots, price) in enumerate(deals):
        held[leg] = held.get(leg, 0) + lots
        row = found[k]
        row["ts"], row["bar"], row["order_id"], row["leg"] = START + bar * HOUR, bar, k + 1, leg
        row["qty"], row["lots"], row["price"] = lots, lots, price
        row["fee"], row["slippage"], row["funding"] = 0.01 * abs(lots), 0.02 * abs(lots), (k % 3) * 0.25
        row["position_qty"] = row["position_lots"] = held[leg]
        row["role"] = Role.STOP if k % 2 else Role.TARGET
    return found


def in_time(steps):
    """Return deals whose bars are the sums of the steps' own."""
    return [(int(bar), *deal) for bar, (_, *deal) in zip(np.cumsum([s[0] for s in steps]), steps, strict=True)]


moves = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(-4, 4).filter(bool), st.integers(50, 150)),
    min_size=1, max_size=40,
).map(in_time)  # fmt: skip


# ---------------------------------------------------------------- trades and positions of several legs
@settings(max_examples=150)
@given(moves)
def test_legs_have_trades_of_their_own_however_they_are_mixed(deals):
    fills = fills_of(deals)
    mixed = closed_trades(fills)
    alone = [closed_trades(fills[fills["leg"] == leg]) for leg in range(3)]
    assert mixed.size == sum(trades.size for trades in alone)
    for leg, trades in enumerate(alone):
        assert mixed[mixed["leg"] == leg].tobytes() == trades.tobytes()
    assert (np.diff(mixed["exit_bar"]) >= 0).all()


def trips_by_hand(fills):
    """Return (side, largest, entry average, exit average, reductions, fee, funding) of one leg's ended positions."""
    found, held, parts = [], 0.0, None
    for fill in fills:
        qty, after, price = (float(fill[name]) for name in ("qty", "position_qty", "price"))
        opening = qty if held == 0 or held * qty > 0 else (after if after * held < 0 else 0.0)
        closing = qty - opening
        if closing:
            parts["out"].append((abs(closing), price))
            parts["fee"] += fill["fee"] * abs(closing / qty)
        if parts:
            parts["funding"] += fill["funding"]
        if closing and (after == 0 or after * held < 0):
            found.append(parts)
            parts = None
        if opening:
            received = float(fill["funding"]) if held == 0 else 0.0  # a reversal's belongs to what it ends
            new = {"side": math.copysign(1, qty), "in": [], "out": [], "fee": 0.0, "funding": received, "most": 0}
            parts = parts or new
            parts["in"].append((abs(opening), price))
            parts["fee"] += fill["fee"] * abs(opening / qty)
            parts["most"] = max(parts["most"], abs(after))
        held = after
    return found


@settings(max_examples=150)
@given(moves)
def test_positions_equal_a_plain_loop(deals):
    fills = fills_of([(bar, 0, lots, price) for bar, _, lots, price in deals])
    found, expected = closed_positions(fills), trips_by_hand(fills)
    assert found.size == len(expected) == round_trips(fills["position_qty"])
    for row, parts in zip(found, expected, strict=True):
        for name, side in (("entry_price", "in"), ("exit_price", "out")):
            mean = sum(q * p for q, p in parts[side]) / sum(q for q, _ in parts[side])
            assert row[name] == pytest.approx(mean, rel=1e-12)
        assert (row["side"], row["qty"], row["reductions"]) == (parts["side"], parts["most"], len(parts["out"]))
        gross = parts["side"] * (sum(q * p for q, p in parts["out"]) - sum(q * p for q, p in parts["in"]))
        assert row["gross"] == pytest.approx(gross, abs=1e-9)
        assert row["fee"] == pytest.approx(parts["fee"], rel=1e-12)
        assert row["funding"] == pytest.approx(parts["funding"], abs=1e-12)
        assert row["pnl"] == pytest.approx(gross - parts["fee"] + parts["funding"], abs=1e-9)


@settings(max_examples=100)
@given(moves)
def test_positions_and_their_reductions_make_the_same_money(deals):
    fills = fills_of(deals)
    trades, trips = closed_trades(fills), closed_positions(fills, with_open=True)
    is_open = trips["exit_bar"] < 0
    for leg in range(3):
        after = fills["position_qty"][fills["leg"] == leg]
        assert (is_open & (trips["leg"] == leg)).sum() == (after.size > 0 and after[-1] != 0)
        if after.size and after[-1] == 0:
            for name in ("gross", "fee", "pnl", "slippage"):
                mine, theirs = (found[name][found["leg"] == leg].sum() for found in (trips, trades))
                assert mine == pytest.approx(theirs, abs=1e-9), name
    assert trips["reductions"].sum() == trades.size
    assert not (trips["pnl"][is_open]).any()


def test_the_role_of_an_exit_is_that_of_its_fill():
    trades = closed_trades(fills_of([(0, 0, 4, 100.0), (1, 0, -1, 101.0), (1, 0, -2, 102.0), (2, 0, -1, 99.0)]))
    assert trades["exit_role"].tolist() == [Role.STOP, Role.TARGET, Role.STOP]
    trip = closed_positions(fills_of([(0, 0, 4, 100.0), (1, 0, -1, 101.0), (1, 0, -3, 102.0)]))
    assert (trip["reductions"].tolist(), trip["exit_role"].tolist()) == ([2], [Role.TARGET])


# ---------------------------------------------------------------- two legs as one
def test_a_hedged_coin_is_one_position():
    fills = fills_of([(1, 0, 10, 100.0), (1, 1, -10, 101.0), (5, 0, -10, 110.0), (5, 1, 10, 110.2)])
    fills["funding"] = [0.0, 0.0, 0.0, 3.0]
    (pair,) = pair_positions(fills, 0, 1)
    assert (pair["side"], pair["entry_bar"], pair["exit_bar"], pair["qty_a"], pair["qty_b"]) == (1, 1, 5, 10.0, 10.0)
    assert pair["basis_entry_bps"] == pytest.approx(100.0, rel=1e-12)
    assert pair["basis_exit_bps"] == pytest.approx(0.2 / 110 * 1e4, rel=1e-12)
    assert (pair["gross_a"], pair["gross_b"]) == pytest.approx((100.0, -92.0), rel=1e-12)
    assert pair["fee"] == pytest.approx(0.4, rel=1e-12)
    assert pair["pnl"] == pytest.approx(8.0 - 0.4 + 3.0, rel=1e-12)
    assert pair["return_frac"] == pytest.approx(pair["pnl"] / 1_000.0, rel=1e-15)
    (other,) = pair_positions(fills, 1, 0)
    assert (other["side"], other["basis_entry_bps"]) == (-1, pytest.approx((100 / 101 - 1) * 1e4, rel=1e-12))


def test_pairs_that_overlap_reverse_or_stay_open():
    apart = fills_of([(1, 0, 2, 100.0), (2, 1, -2, 101.0), (6, 0, -2, 100.0), (8, 1, 2, 101.0)])
    assert pair_positions(apart, 0, 1)[["entry_bar", "exit_bar"]].tolist() == [(1, 8)]
    turned = fills_of(
        [(1, 0, 2, 100.0), (1, 1, -2, 101.0), (3, 0, -4, 100.0), (3, 1, 4, 99.0), (9, 0, 2, 100.0), (9, 1, -2, 99.0)]
    )
    found = pair_positions(turned, 0, 1)
    assert found[["side", "entry_bar", "exit_bar"]].tolist() == [(1, 1, 3), (-1, 3, 9)]
    assert pair_positions(turned[:-1], 0, 1).size == 1  # the second still has its perpetual
    within = fills_of([(4, 0, 1, 100.0), (4, 1, -1, 101.0), (4, 0, -1, 100.0), (4, 1, 1, 101.0)] * 2)
    assert pair_positions(within, 0, 1)["qty_b"].tolist() == [1.0, 1.0]
    alone = pair_positions(fills_of([(1, 1, 2, 50.0), (3, 1, -2, 51.0), (4, 2, 1, 9.0), (5, 2, -1, 8.0)]), 0, 1)
    assert (alone["side"].tolist(), alone["qty_a"].tolist(), alone["gross"].tolist()) == ([-1], [0.0], [2.0])
    assert np.isnan(alone["basis_entry_bps"]).all()
    assert alone["return_frac"][0] == pytest.approx(alone["pnl"][0] / 100.0, rel=1e-15)
    assert pair_positions(fills_of([]), 0, 1).size == 0


@settings(max_examples=100)
@given(moves)
def test_pairs_lose_no_money_of_their_legs(deals):
    fills = fills_of(deals)
    for leg in (0, 1):  # flat at the end
        rest = int(fills["position_qty"][fills["leg"] == leg][-1]) if (fills["leg"] == leg).any() else 0
        deals = [*deals, (deals[-1][0] + 1, leg, -rest, 90.0)] if rest else deals
    fills = fills_of(deals)
    pairs, trips = pair_positions(fills, 0, 1), closed_positions(fills[fills["leg"] < 2])
    assert pairs["pnl"].sum() == pytest.approx(trips["pnl"].sum(), abs=1e-9)
    assert (pairs["exit_bar"][:-1] <= pairs["entry_bar"][1:]).all()


# ---------------------------------------------------------------- excursions
@settings(max_examples=100)
@given(moves, st.integers(0, 2**32 - 1))
def test_excursions_equal_a_plain_loop(deals, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    n = deals[-1][0] + 2
    low = rng.integers(40, 160, (3, n)).astype(float)
    high = low + rng.integers(0, 20, (3, n))
    low[rng.random((3, n)) < 0.2] = np.nan
    fills = fills_of(deals)
    for closed in (closed_trades(fills), closed_positions(fills)):
        columns = (closed[name] for name in ("leg", "entry_bar", "exit_bar", "side", "entry_price"))
        against, favour = excursions(*columns, high, low)
        for k, row in enumerate(closed):
            held = slice(row["entry_bar"], row["exit_bar"] + 1)
            ups, downs = high[row["leg"], held], low[row["leg"], held]
            if np.isnan(downs).all():
                assert math.isnan(against[k])
                assert math.isnan(favour[k])
                continue
            up, down = np.nanmax(ups) / row["entry_price"] - 1, 1 - np.nanmin(downs) / row["entry_price"]
            worse, better = (down, up) if row["side"] > 0 else (up, down)
            assert (against[k], favour[k]) == (max(worse, 0.0), max(better, 0.0))


def test_excursions_do_not_depend_on_the_order_of_the_exits():
    high, low = np.array([101.0, 120.0, 103.0, 104.0]), np.array([99.0, 100.0, 80.0, 90.0])
    legs, entry, exits, side = np.zeros(2, int), np.array([0, 0]), np.array([3, 1]), np.array([1, 1])
    against, favour = excursions(legs, entry, exits, side, np.array([100.0, 100.0]), high, low)
    assert against == pytest.approx([0.2, 0.01], rel=1e-12)
    assert favour == pytest.approx([0.2, 0.2], rel=1e-12)


# ---------------------------------------------------------------- rows
def test_exposure_equals_a_plain_loop():
    rng = np.random.Generator(np.random.PCG64(4))
    n, legs = 400, 3
    close = rng.uniform(50, 150, (legs, n))
    close[:, :3] = close[1, 100:120] = np.nan
    equity = rng.uniform(-20, 200, n)
    bars = np.sort(rng.integers(2, n, 80))
    leg, after = rng.integers(0, legs, 80), rng.integers(-2, 3, 80).astype(float)
    found = exposures(bars, leg, after, close, equity)
    held = positions_at_closes(bars, leg, after, legs, n)
    price = pd.DataFrame(close.T).ffill().to_numpy().T
    value = np.where(held == 0, 0.0, held * price)
    worth = np.where(equity > 0, equity, np.nan)
    any_held = (held != 0).any(axis=0)
    for mine, theirs in ((found.gross, np.abs(value).sum(axis=0)), (found.net, value.sum(axis=0))):
        np.testing.assert_allclose(mine, np.where(any_held, theirs / worth, 0.0), rtol=1e-13)
    assert found.bars_held == any_held.sum()
    assert found.mean_gross == pytest.approx(np.nanmean(found.gross), rel=1e-12)  # a sum in another order
    assert mean_exposure(bars, leg, after, close, equity) == (found.bars_held, found.mean_gross)
    one = mean_exposure(bars, 0 * leg, after, close[0], equity)
    whole = exposures(bars, 0 * leg, after, close[0], equity)
    assert one == (whole.bars_held, pytest.approx(whole.mean_gross, rel=1e-13))
    last = {}
    for i in range(n):
        last |= {int(j): float(a) for b, j, a in zip(bars, leg, after, strict=True) if b == i}
        assert held[:, i].tolist() == [last.get(j, 0.0) for j in range(legs)]


def test_nothing_held_is_no_exposure():
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    found = exposures(*nothing, np.full(5, np.nan), np.full(5, 10.0))
    assert (found.gross.tolist(), found.bars_held, found.mean_gross) == ([0.0] * 5, 0, 0.0)
    held = exposures(np.array([1]), np.array([0]), np.array([1.0]), np.array([1.0, 2.0]), np.array([-1.0, -1.0]))
    assert (held.bars_held, held.mean_gross) == (1, 0.0)  # what is known of it: the bar before
    assert math.isnan(held.gross[1])


def test_rows_are_summed_in_one_pass():
    rng = np.random.Generator(np.random.PCG64(1))
    rows = np.zeros(1_000, ROWS)
    for name in ("equity", "fee", "slippage", "funding", "interest"):
        rows[name] = rng.normal(100, 50, rows.size)
    rows["ambiguous"][::7], rows["maintenance"][::3] = 2.0, 5.0
    rows["equity"][3] = 40.0
    rows["equity"][rows["equity"] < 40.0] = 50.0
    found = totals(rows)
    for mine, name in ((found.fee, "fee"), (found.slippage, "slippage"), (found.funding, "funding")):
        assert mine == pytest.approx(rows[name].sum(), rel=1e-12), name
    assert found.interest == pytest.approx(rows["interest"].sum(), rel=1e-12)
    assert (found.ambiguous, found.ambiguous_bars) == (2.0 * 143, 143)
    assert found.equity.tolist() == rows["equity"].tolist()
    assert found.largest_margin_ratio == 5.0 / 40.0
    rows["equity"][0] = 0.0
    assert totals(rows[::-1]).largest_margin_ratio == math.inf
    assert totals(rows[:0]).largest_margin_ratio == 0.0


def test_interest_is_a_cost():
    assert gross_gain(100.0, 10.0, 5.0, -5.0, 20.0) == 140.0
    assert cost_share(100.0, 10.0, 5.0, -5.0, 20.0) == pytest.approx(40 / 140, rel=1e-15)


# ---------------------------------------------------------------- curves
@settings(max_examples=200)
@given(equities, st.integers(1, 400).map(float), st.integers(0, 3))
def test_one_pass_finds_what_each_figure_finds_alone(values, first, ruined):
    values = [*values, *[-5.0] * ruined]
    curve = [first, *values]
    found, returns = curve_figures(values, first), bar_returns(curve)
    assert found.deepest == deepest_drawdown(curve)
    assert found.longest_drawdown_bars == longest_drawdown_bars(curve)
    assert math.sqrt(found.drawdown_squares / len(values)) == pytest.approx(ulcer_index(curve), rel=1e-13)
    ratio = found.mean_return / found.return_deviation
    assert ratio == pytest.approx(sharpe(returns, 1.0), rel=1e-9, abs=1e-12, nan_ok=True)


def test_one_pass_is_exact_where_returns_are_large_beside_their_spread():
    rng = np.random.Generator(np.random.PCG64(3))
    steady = 100.0 * np.cumprod(1.001 + rng.normal(0, 1e-7, 5_000))
    noisy = 100.0 * np.cumprod(1.0 + rng.normal(0, 1e-4, 5_000))
    for values in (steady, noisy):
        found = curve_figures(values, 100.0)
        expected = bar_returns(values, 100.0)
        assert found.return_deviation == pytest.approx(expected.std(ddof=1), rel=1e-9)
        assert found.mean_return == pytest.approx(expected.mean(), rel=1e-11)
    assert math.isnan(curve_figures(100.0 * 1.001 ** np.arange(1, 500), 100.0).return_deviation)  # rounding alone


def test_a_curve_that_is_not_finite_is_refused_by_index():
    for broken in ([1.0, math.nan], [1.0, math.inf, 2.0], [-1.0, math.nan, 2.0], [2.0, -math.inf]):
        with pytest.raises(InvalidInput, match=r"equity\[1\] must be finite"):
            curve_figures(broken, 100.0)
    for first in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInput, match="initial_equity must be positive"):
            curve_figures([1.0], first)
    assert math.isnan(curve_figures([], 1.0).mean_return)


@settings(max_examples=200)
@given(equities)
def test_every_drawdown_is_found(values):
    expected, peak, at, under = [], values[0], 0, None
    for i, value in enumerate(values):
        if value >= peak:
            if under:
                expected.append((*under, i))
            peak, at, under = value, i, None
        elif under is None or (value - peak) / peak < under[0]:
            under = ((value - peak) / peak, at, i)
    if under:
        expected.append((*under, -1))
    found = drawdowns(values)
    assert found.tolist() == expected
    if found.size:
        deepest = deepest_drawdown(values)
        best = found[found["depth"].argmin()]
        assert tuple(best.tolist()) == (deepest.depth, deepest.peak, deepest.trough, deepest.recovery)


def test_lengths_of_the_deepest_drawdown():
    ts = START + HOUR * np.arange(6)
    equity = np.array([110.0, 88.0, 99.0, 110.0, 120.0, 115.0])
    found = curve_performance(ts, equity, 8_760.0, 100.0)
    assert found["max_drawdown"] == pytest.approx(-0.2, rel=1e-14)
    assert (found["max_drawdown_bars"], found["max_drawdown_recovery_bars"]) == (3.0, 2.0)
    lasting = curve_performance(ts[:3], equity[:3], 8_760.0, 100.0)
    assert lasting["max_drawdown_bars"] == 2.0
    assert math.isnan(lasting["max_drawdown_recovery_bars"])
    rising = curve_performance(ts, np.arange(101.0, 107.0), 8_760.0, 100.0)
    assert (rising["max_drawdown_bars"], rising["max_drawdown_recovery_bars"]) == (0.0, 0.0)


def test_tails_and_yearly_means_are_of_days():
    rng = np.random.Generator(np.random.PCG64(2))
    daily = rng.normal(0.001, 0.02, 500)
    found = curve_performance(START + NS_PER_DAY * np.arange(500), 100.0 * np.cumprod(1 + daily), 365.0, 100.0)
    assert found["annual_return"] == pytest.approx(365 * daily.mean(), rel=1e-9)
    assert found["sharpe"] == pytest.approx(found["annual_return"] / found["volatility"], rel=1e-12)
    assert found["var_99"] == pytest.approx(np.quantile(daily, 0.01), rel=1e-9)
    assert found["cvar_99"] == pytest.approx(np.sort(daily)[:5].mean(), rel=1e-9)  # floor(499 * 1 %) + 1
    assert found["cvar_99"] < found["var_99"] < found["var_95"] == pytest.approx(value_at_risk(daily), rel=1e-9)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=50))
def test_the_last_bar_of_each_day_is_found_by_bisection(hours):
    ts = START + HOUR * np.cumsum([1, *hours])
    ts = np.unique(ts)
    day, last = day_ends(ts)
    expected = pd.Series(np.arange(ts.size)).groupby(ts // NS_PER_DAY).last()
    assert day.tolist() == expected.index.tolist()
    assert last.tolist() == expected.tolist()
    assert day_ends(ts[:0])[0].size == 0


# ---------------------------------------------------------------- tables
def days_of_two_years():
    rng = np.random.Generator(np.random.PCG64(8))
    day = np.setdiff1d(np.arange(19_700, 20_400), np.arange(19_990, 20_060))  # no day in November 2024 at all
    return day, 100.0 * np.cumprod(1 + rng.normal(0.001, 0.02, day.size))


def test_months_and_years_equal_pandas():
    day, equity = days_of_two_years()
    table = monthly_returns(day, equity, 100.0)
    series = pd.Series(equity, pd.to_datetime(day, unit="D"))
    for (year, month), last in series.groupby([series.index.year, series.index.month]).last().items():
        before = series[series.index < pd.Timestamp(year, month, 1)]
        base = before.iloc[-1] if before.size else 100.0
        row = table.filter(table["year"] == year).to_dicts()[0]
        name = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")[month - 1]
        assert row[name] == pytest.approx(last / base - 1, rel=1e-12)
    yearly = series.groupby(series.index.year).last()
    assert table["year"].to_list() == yearly.index.tolist()
    growth = yearly / np.concatenate(([100.0], yearly.to_numpy()[:-1])) - 1
    np.testing.assert_allclose(table["total"].to_numpy(), growth, rtol=1e-12)
    assert math.isnan(table.filter(table["year"] == 2024)["nov"][0])
    ruined = monthly_returns(np.array([0, 40]), np.array([-5.0, -5.0]), 100.0)
    assert ruined.select("jan", "feb", "total").row(0) == (-1.05, 0.0, -1.05)
    assert monthly_returns(day[:0], equity[:0], 100.0).height == 0


def test_rolling_figures_equal_pandas():
    day, equity = days_of_two_years()
    returns = bar_returns(equity, 100.0)
    returns[50:90] = 0.0  # flat for longer than a window
    table = rolling_figures(day, returns, 30)
    windows = pd.Series(returns).rolling(30)
    spread = windows.apply(lambda r: np.std(r, ddof=1), raw=True)
    np.testing.assert_allclose(table["volatility"], spread * np.sqrt(365), rtol=1e-12)
    np.testing.assert_allclose(table["return"], windows.apply(lambda r: np.prod(1 + r) - 1), rtol=1e-9, atol=1e-13)
    lowest = windows.apply(lambda r: drawdown(np.concatenate(([1.0], np.cumprod(1 + r)))).min())
    np.testing.assert_allclose(table["max_drawdown"], lowest, rtol=1e-9, atol=1e-13)
    for k, value in enumerate(table["sharpe"].to_list()):
        expected = sharpe(returns[k - 29 : k + 1], 365.0) if k >= 29 else math.nan
        assert value == pytest.approx(expected, rel=1e-10, nan_ok=True)
    assert math.isnan(table["sharpe"][85])
    assert table["ts"][0] == datetime.fromtimestamp(int(day[0]) * 86_400, UTC)
    assert rolling_figures(day[:10], returns[:10], 30)["return"].is_nan().all()
    for window in (1, 2.5, True):
        with pytest.raises(InvalidInput, match="window_days"):
            rolling_figures(day, returns, window)


def test_the_deepest_drawdowns_are_told():
    ts = START + HOUR * np.arange(8)
    equity = np.array([90.0, 101.0, 99.0, 102.0, 51.0, 80.0, 102.0, 100.0])
    table = drawdown_table(ts, equity, 100.0, HOUR, 2)
    hour = [datetime.fromtimestamp((START + k * HOUR) // 10**9, UTC) for k in range(-1, 8)]  # 0: before the first bar
    assert table.rows() == [
        (hour[4], hour[5], hour[7], -0.5, 3, 2),
        (hour[0], hour[1], hour[2], pytest.approx(-0.1), 2, 1),
    ]
    whole = drawdown_table(ts, equity, 100.0, HOUR, 10)
    assert whole.height == 4
    assert whole.filter(whole["end"].is_null()).select("length_bars", "recovery_bars").row(0) == (1, None)
    assert drawdown_table(ts, np.arange(101.0, 109.0), 100.0, HOUR, 3).height == 0
    with pytest.raises(InvalidInput, match="top"):
        drawdown_table(ts, equity, 100.0, HOUR, 0)


def test_pairs_of_bars_are_one_position_each():
    # Many fills in one bar: opened, grown, reduced and reversed before its close.
    fills = fills_of([(3, 0, 2, 100.0), (3, 0, 2, 102.0), (3, 0, -1, 103.0), (3, 0, -5, 104.0), (3, 0, 2, 90.0)])
    trades = closed_trades(fills)
    assert trades["qty"].tolist() == [1.0, 3.0, 2.0]
    assert trades["entry_price"].tolist() == [101.0, 101.0, 104.0]
    assert trades["gross"].tolist() == [2.0, 9.0, 28.0]
    assert [list(group) for _, group in itertools.groupby(trades["entry_bar"].tolist())] == [[3, 3, 3]]
