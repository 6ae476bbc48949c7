"""Figures of a result: what is drawn is what the frames say; thinned where it is long, and told where nothing is."""

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from research.backtest import figures
from research.backtest.figures import MAX_MARKS, PLOT_POINTS
from research.errors import InvalidInput
from research.execution.records import Role

QUARTER = 15 * 60 * 10**9
DAY = 96  # bars


@pytest.fixture(scope="module")
def long_one(by_lot):
    return by_lot(20_000, seed=7, scale=0.003, every=80, step_ns=QUARTER)


@pytest.fixture(scope="module")
def two(by_lot):
    return by_lot(5_000, seed=8, scale=0.003, every=80, legs=2, step_ns=QUARTER)


@pytest.fixture(scope="module")
def idle(hand_made):
    return hand_made([100.0] * 50, [])


def all_figures(result) -> dict[str, go.Figure]:
    return {
        "plot": result.plot(), "trades": result.plot_trades(), "monthly": result.plot_monthly(),
        "rolling": result.plot_rolling(5), "returns": result.plot_returns(), "excursions": result.plot_excursions(),
        "underwater": result.plot_underwater(), "exposure": result.plot_exposure(),
    }  # fmt: skip


def named(figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def test_every_figure_of_every_result_has_a_title_and_can_be_written(long_one, two, idle):
    for result in (long_one, two, idle):
        for name, figure in all_figures(result).items():
            assert figure.layout.title.text, name
            assert "SOLUSDT" in figure.layout.title.text, name
            assert figure.layout.height >= 180
            assert len(figure.to_json()) > 500


def test_axes_have_units(long_one):
    for name, figure in all_figures(long_one).items():
        titles = [axis.title.text for axis in figure.select_yaxes() if axis.title.text]
        assert (titles == []) == (name == "monthly"), name
    plot = long_one.plot()
    assert [axis.title.text for axis in plot.select_yaxes()] == ["equity (USDT)", "drawdown", "position (SOL)"]


def test_what_is_not_there_is_said(idle):
    reasons = {"returns": "three days", "excursions": "no closed trade", "underwater": "no drawdown", "rolling": "days"}
    drawn = all_figures(idle)
    for name, reason in reasons.items():
        assert reason in drawn[name].layout.annotations[0].text, name
    assert "no bars" in idle.plot_trades("2030-01-01").layout.annotations[0].text
    assert idle.plot().data[0].y.tolist() == [10_000.0] * 50


def test_long_curves_are_thinned_and_keep_their_extremes(long_one):
    figure = long_one.plot()
    assert [trace.name for trace in figure.data] == ["equity", "drawdown", "position"]
    assert all(100 < len(trace.x) <= PLOT_POINTS + 2 for trace in figure.data)
    equity = long_one.equity["equity"]
    assert (min(figure.data[0].y), max(figure.data[0].y)) == (equity.min(), equity.max())
    assert min(named(long_one.plot_underwater())["drawdown"].y) == long_one.equity["drawdown"].min()
    gross = named(long_one.plot_exposure())["gross"]
    assert max(gross.y) == np.nanmax(long_one.exposure.gross)
    assert len(gross.x) <= 2 * PLOT_POINTS + 4


def test_each_leg_has_its_position(two):
    traces = named(two.plot())
    assert {"position SOLUSDT", "position AVAXUSDT"} < set(traces)
    drawn = dict(zip(traces["position AVAXUSDT"].x, traces["position AVAXUSDT"].y, strict=True))
    held = two.positions.with_columns(pl.col("ts").cast(pl.Datetime("ms")))
    assert all(drawn[t] == q for t, q in zip(held["ts"].to_numpy(), held["AVAXUSDT"], strict=True) if t in drawn)


def test_entries_and_exits_stand_at_their_fills(long_one):
    figure = long_one.plot_trades()
    traces, trades = named(figure), long_one.trades
    for role in trades["exit_role"].unique():
        part = trades.filter(pl.col("exit_role") == role)
        marks = traces[f"exit: {role.replace('_', ' ')}"]
        assert marks.y.tolist() == part["exit_price"].to_list()
        assert marks.x.astype("datetime64[ns]").astype(np.int64).tolist() == part["exit_ts"].dt.epoch("ns").to_list()
    fills = long_one.fills
    grown = fills.filter(pl.col("position_qty") * pl.col("qty") > 0)
    entries = [traces[f"entry {side}"] for side in ("long", "short")]
    assert sum(len(entry.x) for entry in entries) == grown.height
    assert set(entries[0].y) <= set(grown.filter(pl.col("qty") > 0)["price"])


def test_a_window_shows_its_own_trades(long_one, two):
    first = long_one.equity["ts"][0].date()
    figure = long_one.plot_trades("2024-02-01", "2024-02-11")
    assert str(first) == "2024-01-01"
    low, high = np.datetime64("2024-02-01"), np.datetime64("2024-02-11")
    traces = named(figure)
    for name, trace in traces.items():
        if name.startswith(("entry", "exit", "close")):
            assert (trace.x.min() >= low) & (trace.x.max() < high), name
    within = pl.col("exit_ts").is_between(*long_one.equity["ts"][[31 * DAY, 41 * DAY - 1]])
    exits = sum(len(trace.x) for name, trace in traces.items() if name.startswith("exit"))
    assert exits == long_one.trades.filter(within).height > 0
    assert len(traces["close"].x) == 10 * DAY
    named_leg, by_index = (two.plot_trades(leg=leg) for leg in ("AVAXUSDT", 1))
    assert named_leg.to_json() == by_index.to_json()
    assert "AVAXUSDT" in named_leg.layout.title.text
    with pytest.raises(InvalidInput, match="leg"):
        two.plot_trades(leg="BTCUSDT")
    zoned = datetime(2024, 2, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert long_one.plot_trades(zoned, datetime(2024, 2, 11)).to_json() == figure.to_json()
    for wrong in ("february", 20240201):
        with pytest.raises(InvalidInput, match="end must be a time"):
            long_one.plot_trades(end=wrong)


def test_the_price_keeps_its_reach_and_its_gaps(long_one):
    outline = named(long_one.plot_trades())["low to high"]
    reach = np.array([y for y in outline.y if y is not None], dtype=float)
    assert (np.nanmin(reach), np.nanmax(reach)) == (np.nanmin(long_one.low), np.nanmax(long_one.high))
    near = long_one.ts[[20_000 // 3 - 40, 20_000 // 3 + 40]].astype("datetime64[ns]").tolist()
    start, end = (pl.Series([t]).cast(pl.Datetime("ns", "UTC"))[0] for t in near)
    parts = named(long_one.plot_trades(start, end))["low to high"]
    assert sum(y is None or math.isnan(y) for y in parts.y) == 2  # one outline before the gap of three bars, one after


def test_many_trades_are_thinned_and_the_title_says_so(hand_made, deal):
    n = 2 * MAX_MARKS + 200
    deals = [deal(bar, 1.0 if bar % 2 == 0 else -1.0, 100.0) for bar in range(n)]
    figure = hand_made([100.0] * n, deals).plot_trades()
    assert f"{MAX_MARKS:,} of {n // 2:,} shown" in figure.layout.title.text
    assert len(named(figure)["exit: target"].x) == len(named(figure)["entry long"].x) == MAX_MARKS
    assert {"gain", "loss"}.isdisjoint(named(figure))


def test_every_role_has_a_mark_of_its_own(hand_made, deal):
    roles = [role for role in Role if role != Role.CANCEL]
    deals = [
        d for k, role in enumerate(roles) for d in (deal(2 * k, 1.0, 100.0), deal(2 * k + 1, -1.0, 99.0, role=role))
    ]
    traces = named(hand_made([100.0] * 30, deals).plot_trades())
    marks = {(t.marker.symbol, t.marker.color) for name, t in traces.items() if name.startswith("exit")}
    assert len(marks) == len(roles)
    assert len(traces["loss"].x) == 3 * len(roles)


def test_months_are_those_of_the_table(long_one):
    months, years = long_one.plot_monthly().data
    table = long_one.monthly_returns()
    np.testing.assert_array_equal(months.z, table.drop("year", "total").to_numpy())
    np.testing.assert_array_equal(years.z, table.select("total").to_numpy())
    assert list(months.y) == [str(year) for year in table["year"]]
    assert months.text[0][0] == figures._percent(table["jan"][0])
    assert months.text[0][11] == ""  # after the last day


def test_rolling_panels_are_those_of_the_table(long_one):
    traces = named(long_one.plot_rolling(20))
    table = long_one.rolling(20)
    assert list(traces) == ["Sharpe", "return", "volatility", "max drawdown"]
    assert traces["return"].y.tolist() == table["return"].to_list()[19:]
    with pytest.raises(InvalidInput, match="window_days"):
        long_one.plot_rolling(1)


def test_the_histogram_holds_every_day_and_the_values_at_risk(long_one):
    traces = named(long_one.plot_returns())
    days = traces["days"]
    assert float(np.sum(days.y * days.width)) == pytest.approx(1.0, rel=1e-12)
    found = long_one.metrics()
    lines = {name[:8]: trace.x[0] for name, trace in traces.items() if name.startswith("VaR")}
    assert lines == {"VaR 95 %": found["var_95"], "VaR 99 %": found["var_99"]}
    grid = traces["normal"]
    assert np.trapezoid(grid.y, grid.x) == pytest.approx(1.0, abs=0.05)  # its tails lie beyond the days


def test_excursions_show_every_trade_once_in_each_panel(long_one):
    figure = long_one.plot_excursions()
    count = sum(len(trace.x) for trace in figure.data if trace.mode == "markers")
    assert count == 2 * long_one.trades.height
    gains = [trace for trace in figure.data if trace.name == "gain"]
    assert len(gains) == 2
    assert all(min(trace.y) > 0 for trace in gains)


def test_the_deepest_drawdowns_are_numbered(long_one):
    figure = long_one.plot_underwater(3)
    table = long_one.drawdowns(3)
    shown = table.filter(pl.col("depth") <= 0.1 * table["depth"].min())
    assert named(figure)["deepest"].y.tolist() == shown["depth"].to_list()
    assert len(figure.layout.shapes) == shown.height


def test_margin_is_drawn_where_there_was_one(long_one, idle):
    ratio = named(long_one.plot_exposure())["margin ratio"]
    assert max(ratio.y) == pytest.approx(long_one.metrics()["max_margin_ratio"], rel=1e-15)
    assert "margin ratio" not in named(idle.plot_exposure())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1234, "12.3 %"),
        (-0.004, "−0.40 %"),
        (-1e-5, "0.00 %"),
        (0.0, "0.00 %"),
        (math.nan, "n/a"),
        (-12.5, "−1,250.0 %"),
    ],
)
def test_shares_are_written_in_percent(value, text):
    assert figures._percent(value) == text
