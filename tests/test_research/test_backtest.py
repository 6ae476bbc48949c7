"""A backtest from frames to figures, and vectorbt's opinion of the same fills."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from research.backtest import crosscheck_vectorbt, simulate
from research.backtest.figures import PLOT_POINTS
from research.errors import FundingHole, InvalidInput, MisalignedBars, SchemaMismatch
from research.execution import FILLS, ORDERS, Account, Costs
from research.market.bars import TS, on_clock
from research.market.instruments import sample_instrument

ROOT = Path(__file__).resolve().parents[2]
MINUTE = 60 * 10**9
START = 1_704_067_200 * 10**9
SOL = sample_instrument("SOLUSDT")
NO_COSTS = Costs(taker_fee_bps=0.0)


def random_market(n=2_000, seed=1, scale=0.001):
    """Return bars of a random walk, and targets that change every twenty bars."""
    rng = np.random.Generator(np.random.PCG64(seed))
    path = 100.0 * np.exp(np.cumsum(rng.normal(0, scale, 2 * n)))
    opens, closes = np.round(path[::2], 2), np.round(path[1::2], 2)
    bars = frame_of(opens, closes)
    targets = np.full(n, np.nan)
    targets[::20] = rng.choice([-0.9, -0.4, 0.0, 0.4, 0.9], targets[::20].size)
    return bars, targets


def frame_of(opens, closes):
    opens, closes = np.asarray(opens, float), np.asarray(closes, float)
    return pl.DataFrame(
        {
            "ts": START + MINUTE * np.arange(opens.size),
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
        }
    ).with_columns(pl.col("ts").cast(TS))


def funding_rows(hours, rate=1e-4):
    return pl.DataFrame(
        {"ts": [START + h * 60 * MINUTE for h in hours], "rate": [rate] * len(hours), "interval_hours": 8.0}
    ).with_columns(pl.col("ts").cast(TS))


# ---------------------------------------------------------------- frames
def test_the_signal_earns_the_bars_after_its_close():
    # A definition with a known answer (cases 108): a signal known at the close of bar t earns the return of t + 1.
    # Bars open where the last one closed, so that the next open is the close that decided.
    signal = [0, 1, 1, 0, -1, -1, 1, 0]
    moves = [0.01, 0.02, -0.01, 0.03, -0.02, 0.01, -0.03, 0.02]
    close = 1_000.0 * np.cumprod(1 + np.array(moves))
    opens = np.concatenate(([1_000.0], close[:-1]))
    fine = {"tick": 1e-6, "qty_step": 1e-6, "min_qty": 1e-6, "max_qty": math.inf, "min_notional_quote": 0.0}
    instrument = replace(SOL, terms=(replace(SOL.terms[0], **fine),))
    result = simulate(frame_of(opens, close), signal, instrument=instrument, costs=NO_COSTS, initial_cash_quote=1e6)
    earned = np.diff(result.equity["equity"].to_numpy(), prepend=1e6)
    # The held lots are one equity's worth at the first decision of each stretch; within it they drift with price.
    sides = np.sign(earned.round(6))
    assert sides.tolist() == [0.0, 0.0, -1.0, 1.0, 0.0, -1.0, 1.0, 1.0]
    assert earned[2] / 1e6 == pytest.approx(-0.01, abs=1e-8)  # lots of 1e-6 SOL, ticks of 1e-6
    assert earned[5] == pytest.approx(-0.01 * (1e6 + earned[2] + earned[3]), rel=1e-7)


def test_frames_of_a_small_run():
    bars = frame_of([100, 100, 102, 104, 104], [100, 102, 104, 104, 104])
    result = simulate(bars, [0.5, np.nan, 0.0, 2e-4, -0.5], instrument=SOL, costs=Costs())
    assert result.equity.columns == [
        "ts", "equity", "position_lots", "wallet", "fee", "slippage", "funding", "interest", "maintenance", "ambiguous",
        "drawdown",
    ]  # fmt: skip
    assert result.fills.columns == list(FILLS.names)
    assert result.orders.columns == list(ORDERS.names)
    assert result.equity["ts"].to_list() == bars["ts"].to_list()
    assert result.orders.select("status", "reason").rows() == [
        ("filled", "none"),
        ("filled", "none"),
        ("rejected", "below_min_qty"),
        ("pending", "none"),
    ]
    assert result.orders["done_ts"].to_list()[-1] is None
    trade = result.trades.row(0, named=True)
    fees = 50 * 100 * 5.5e-4 + 50 * 104 * 5.5e-4
    assert trade["pnl"] == pytest.approx(200.0 - fees, rel=1e-13)
    figures = result.metrics()
    assert figures["final_equity"] == pytest.approx(10_200.0 - fees, rel=1e-14)
    assert figures["fees"] == pytest.approx(fees, rel=1e-13)
    assert (figures["orders"], figures["fills"], figures["orders_rejected"]) == (4.0, 2.0, 1.0)
    assert figures["exposure_time"] == 2 / 5
    assert figures["turnover"] == pytest.approx((5_000 + 5_200) / 10_000, rel=1e-14)
    assert figures["profit_factor"] == math.inf
    assert (figures["trades"], figures["round_trips"]) == (1.0, 1.0)
    assert figures["cost_share"] == pytest.approx(fees / 200.0, rel=1e-12)
    assert math.isnan(figures["funding_on_mark_frac"])
    assert trade["return_on_equity_frac"] == pytest.approx(trade["pnl"] / 10_000.0, rel=1e-15)
    assert result.position_qty().tolist() == [0.0, 50.0, 50.0, 0.0, 0.0]


def test_no_trade_is_a_value():
    bars, _ = random_market(50)
    result = simulate(bars, np.full(50, np.nan), instrument=SOL)
    assert result.trades.height == result.orders.height == result.fills.height == 0
    figures = result.metrics()
    assert figures["total_return"] == 0.0
    assert math.isnan(figures["sharpe"])
    assert result.plot().data[0].y.tolist() == [10_000.0] * 50


def test_ruin_is_a_value():
    bars = frame_of([100, 100, 150, 400, 400], [100, 150, 390, 400, 400])
    marks = frame_of([100] * 5, [100] * 5)  # stays behind: nothing is liquidated before the close that ruins
    result = simulate(bars, [-1.0] * 5, instrument=SOL, max_leverage=2.0, mark=marks)
    figures = result.metrics()
    assert result.is_ruined
    assert figures["is_ruined"] == 1.0
    assert figures["total_return"] < -1.0
    assert math.isnan(figures["cagr"])  # five minutes are no year
    assert math.isnan(figures["cost_share"])  # nothing was gained before costs
    assert figures["max_drawdown"] < -1.0
    assert result.orders["reason"].to_list() == ["none", "ruined"]
    with pytest.raises(InvalidInput, match="ruined"):
        result.to_vectorbt()


def test_liquidation_is_a_value():
    # The same without a mark of its own: it moves as the traded price, and the venue comes first.
    bars = frame_of([100, 100, 150, 400, 400], [100, 150, 390, 400, 400])
    result = simulate(bars, [-1.0] * 5, instrument=SOL, max_leverage=2.0)
    figures = result.metrics()
    assert result.is_ruined
    assert (figures["total_return"], figures["max_drawdown"]) == (-1.0, -1.0)
    assert result.orders["reason"].to_list() == ["none", "liquidation"]
    assert result.fills["role"].to_list() == ["target", "liquidation"]
    assert result.equity["equity"].to_list()[-3:] == [0.0] * 3


def test_a_gap_under_a_position_is_refused_unless_it_is_to_be_held():
    bars = frame_of([100, 100, math.nan, 100, 100], [100, 100, 100, 100, 100])
    held = [0.5, math.nan, math.nan, 0.0, math.nan]
    with pytest.raises(InvalidInput) as caught:
        simulate(bars, held, instrument=SOL)
    assert caught.value.subject == "SOLUSDT.bars[2]"
    assert "gaps='hold'" in str(caught.value)
    assert "NaN at 2024-01-01T00:02:00" in str(caught.value)
    assert simulate(bars, held, instrument=SOL, gaps="hold").equity["position_lots"].to_list() == [0, 500, 500, 500, 0]
    flat = [0.5, 0.0, math.nan, math.nan, math.nan]  # the order to leave waits in the gap: still held in it
    with pytest.raises(InvalidInput, match=r"bars\[2\]"):
        simulate(bars, flat, instrument=SOL)
    assert simulate(bars, [math.nan] * 3 + [0.5, math.nan], instrument=SOL).fills.height == 1
    with pytest.raises(InvalidInput, match="gaps must be refuse or hold"):
        simulate(bars, held, instrument=SOL, gaps="fill")


def test_a_backtest_equals_bars_pushed_one_at_a_time():
    bars, targets = random_market(600)
    bars = bars.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 3).then(np.nan).otherwise(pl.col("close")).alias("close")
    )
    costs = Costs(half_spread_bps=1.0, slippage_bps=1.0)
    result = simulate(bars, targets, instrument=SOL, costs=costs, latency_bars=1, gaps="hold")
    live = Account(SOL, costs, latency_bars=1)
    ts = bars["ts"].to_physical().to_numpy()
    columns = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]
    rows = []
    for i in range(bars.height):
        one = slice(i, i + 1)
        rows.append(live.push(ts[one], *(c[one] for c in columns), np.array([np.nan]), np.zeros(1), targets[one]).rows)
    assert np.concatenate(rows).tobytes() == result.ledger.rows.tobytes()


def test_trades_and_the_open_position_add_up_to_the_equity():
    bars, targets = random_market(3_000)
    targets[-40:] = np.nan
    targets[-30] = 0.0  # flat at the end
    result = simulate(
        bars, targets, instrument=SOL, costs=Costs(half_spread_bps=2.0), funding=funding_rows(range(0, 64, 8))
    )
    figures = result.metrics()
    assert figures["funding_settlements"] == 7  # 50 hours hold 0, 8, ..., 48
    assert figures["funding"] != 0.0
    assert result.trades["pnl"].sum() == pytest.approx(figures["final_equity"] - 10_000.0, abs=1e-7)
    assert result.trades["funding"].sum() == pytest.approx(figures["funding"], abs=1e-9)
    assert result.trades["slippage"].sum() == pytest.approx(figures["slippage"], abs=1e-9)


def test_the_mark_prices_the_funding():
    bars = frame_of([100.0] * 481, [100.0] * 481)
    targets = np.full(481, np.nan)
    targets[0] = 0.5
    marks = frame_of([110.0] * 481, [110.0] * 481).select("ts", "open", "high", "low", "close")
    rows = funding_rows([0, 8], 1e-3)
    by_mark = simulate(bars, targets, instrument=SOL, costs=NO_COSTS, funding=rows, mark=marks[100:])
    assert by_mark.metrics()["funding"] == pytest.approx(-5.5, rel=1e-14)
    assert by_mark.metrics()["funding_on_mark_frac"] == 0.5  # the settlement at 0:00 had none, and no position
    by_open = simulate(bars, targets, instrument=SOL, costs=NO_COSTS, funding=rows, mark=marks[1:100])
    assert by_open.metrics()["funding"] == pytest.approx(-5.0, rel=1e-14)
    assert by_open.metrics()["funding_on_mark_frac"] == 0.0
    everywhere = simulate(bars, targets, instrument=SOL, costs=NO_COSTS, funding=rows, mark=marks)
    assert everywhere.metrics()["funding_on_mark_frac"] == 1.0
    assert simulate(bars, targets, instrument=SOL, funding=rows).metrics()["funding_on_mark_frac"] == 0.0


def test_trades_are_measured_on_the_equity_before_their_entry():
    # 100 -> 104 -> 104 -> 104 -> 52: half of the equity long, left at 104; then half short, left at 52.
    bars = frame_of([100, 100, 104, 104, 104, 52, 52], [100, 104, 104, 104, 52, 52, 52])
    result = simulate(bars, [0.5, np.nan, 0.0, -0.5, np.nan, 0.0, np.nan], instrument=SOL, costs=NO_COSTS)
    trades, equity = result.trades, result.equity["equity"]
    assert trades["pnl"][0] == pytest.approx(200.0, rel=1e-14)
    before = [10_000.0, equity[trades["entry_bar"][1] - 1]]
    assert before[1] == pytest.approx(10_200.0, rel=1e-14)
    found = trades["return_on_equity_frac"].to_numpy()
    assert found.tolist() == (trades["pnl"].to_numpy() / before).tolist()
    # Flat in between and at the end: compounded, the trades are what the account made.
    assert np.prod(1.0 + found) * 10_000.0 == pytest.approx(equity[-1], rel=1e-13)


def test_targets_may_come_as_array_series_or_frame():
    bars, targets = random_market(200)
    as_frame = bars.select("ts", pl.Series("target", targets))
    with_null = pl.Series("target", [None if math.isnan(x) else x for x in targets.tolist()])
    runs = [simulate(bars, t, instrument=SOL).ledger.rows for t in (targets, targets.tolist(), with_null, as_frame)]
    assert len({rows.tobytes() for rows in runs}) == 1


# ---------------------------------------------------------------- refusals
def test_bad_input_is_refused_by_name():
    bars, targets = random_market(100)
    with pytest.raises(InvalidInput, match="one for each bar"):
        simulate(bars, targets[:-1], instrument=SOL)
    with pytest.raises(InvalidInput, match=r"targets\[20\] must lie within"):
        simulate(bars, np.where(np.arange(100) == 20, 1.01, targets), instrument=SOL)
    with pytest.raises(InvalidInput, match=r"targets\[3\]"):
        simulate(bars, np.where(np.arange(100) == 3, -np.inf, targets), instrument=SOL)
    with pytest.raises(MisalignedBars, match="on_clock"):
        simulate(bars[[0, 1, 2, 4, 5]], targets[:5], instrument=SOL)
    shifted = bars.select(pl.col("ts") + pl.duration(minutes=1), pl.Series("t", targets))
    with pytest.raises(MisalignedBars, match=r"targets\.ts"):
        simulate(bars, shifted, instrument=SOL)
    with pytest.raises(SchemaMismatch, match="one more"):
        simulate(bars, bars.select("ts", "open", "close"), instrument=SOL)
    with pytest.raises(SchemaMismatch, match="low"):
        simulate(bars.drop("low"), targets, instrument=SOL)
    with pytest.raises(InvalidInput, match="at least 2"):
        simulate(bars[:1], targets[:1], instrument=SOL)
    negative = bars.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(-1.0).otherwise("open").alias("open"))
    with pytest.raises(InvalidInput, match=r"account\.price\[7\]"):
        simulate(negative, targets, instrument=SOL)
    with pytest.raises(FundingHole):
        simulate(bars, targets, instrument=SOL, funding=funding_rows([40, 48]))
    with pytest.raises(MisalignedBars, match="mark"):
        simulate(bars, targets, instrument=SOL, mark=bars.with_columns(pl.col("ts") + pl.duration(seconds=1)))
    spot = sample_instrument("SOLUSDT", market="spot")
    with pytest.raises(InvalidInput, match="spot"):
        simulate(bars, np.abs(targets), instrument=spot, funding=funding_rows([0, 8]))


# ---------------------------------------------------------------- views
def test_the_figure_shows_equity_drawdown_and_position():
    bars, targets = random_market(12_000)
    figure = simulate(bars, targets, instrument=SOL).plot()
    assert [trace.name for trace in figure.data] == ["equity", "drawdown", "position"]
    assert all(0 < len(trace.x) <= PLOT_POINTS + 4 for trace in figure.data)
    assert max(figure.data[1].y) <= 0.0


def test_importing_the_backtest_loads_no_plotting_library():
    code = (
        "import sys, research.backtest, research.metrics, research.execution;"
        "print([m for m in ('pandas', 'plotly', 'vectorbt', 'scipy.stats', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_borrowed_purchase_is_not_handed_to_vectorbt():
    bars = frame_of([100] * 4, [100] * 4)
    result = simulate(bars, [3.0, np.nan, np.nan, np.nan], instrument=SOL, max_leverage=5.0)
    with pytest.raises(InvalidInput, match="no margin"):
        result.to_vectorbt()


@pytest.mark.slow  # vectorbt compiles for half a minute on its first call
@pytest.mark.filterwarnings("ignore")  # its own and its dependencies' deprecations
def test_vectorbt_counts_the_same_money(market_data):
    bars, targets = random_market(5_000)
    bars = bars.with_columns(
        pl.when(pl.int_range(pl.len()) % 50 == 7).then(np.nan).otherwise(pl.col("open")).alias("open")
    )
    cases = [(bars, targets, Costs(half_spread_bps=1.0, slippage_bps=2.0), None)]
    real = pl.read_parquet(market_data / "bybit/linear/SOLUSDT/5m.parquet").with_columns(pl.col("ts").cast(TS))
    real = on_clock(real[:20_000], "5m")
    rng = np.random.Generator(np.random.PCG64(9))
    real_targets = np.where(rng.random(real.height) < 0.02, rng.choice([-0.9, 0.0, 0.6, 0.9], real.height), np.nan)
    rows = pl.read_parquet(market_data / "bybit/linear/SOLUSDT/funding.parquet").with_columns(
        pl.col("ts").cast(TS), pl.lit(8.0).alias("interval_hours")
    )
    cases.append((real, real_targets, Costs(slippage_bps=1.0), rows))
    for frame, wanted, costs, funding in cases:
        result = simulate(frame, wanted, instrument=SOL, costs=costs, funding=funding, gaps="hold")
        assert result.ledger.fills.size > 50
        table = crosscheck_vectorbt(result)
        difference = dict(table.select("figure", "difference").rows())
        assert difference["order_count"] == 0.0
        assert abs(difference["total_return"]) < 1e-9
        assert abs(difference["max_drawdown"]) < 1e-9
        for name in ("final_equity", "equity_curve", "fees"):
            assert abs(difference[name]) < 1e-9 * 10_000.0, name  # relative to the initial cash
