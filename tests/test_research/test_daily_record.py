"""The daily record: a case by hand, reconciled for accounts with everything, refused where a table was changed."""

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from research.backtest import simulate
from research.backtest.result import records_frame
from research.errors import InvalidInput, SchemaMismatch
from research.execution import Costs
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE, TS
from research.metrics.trades import closed_trades
from research.report.daily_record import daily_record, daily_record_of, monthly_sums, residual
from tests.test_research.account_cases import SOL, Case, everything, times

HOURS_12 = 720 * NS_PER_MINUTE
FROM = 19_753 * NS_PER_DAY  # 2024-01-31


def by_hand() -> dict[str, pl.DataFrame | list[float]]:
    """Two bars a day, a day without bars. 1,000 of cash; 2 bought at 100, one sold at 112, one at 90."""
    ts = [FROM, FROM + HOURS_12, FROM + NS_PER_DAY, FROM + NS_PER_DAY + HOURS_12, FROM + 3 * NS_PER_DAY]
    equity = pl.DataFrame({
        # bought 2 at 100 (fee 1): 110 at the close; 105 after -2 of funding; sold one at 112 (fee 1), close 110;
        # close 95, +3 of funding; the last sold at 90 (fee 1)
        "ts": ts, "equity": [1019.0, 1007.0, 1018.0, 1006.0, 1000.0],
        "fee": [1.0, 0.0, 1.0, 0.0, 1.0], "slippage": [0.5, 0.0, 0.25, 0.0, 0.125],
        "funding": [0.0, -2.0, 0.0, 3.0, 0.0], "interest": 0.0,
    }).with_columns(pl.col("ts").cast(TS))  # fmt: skip
    fills = pl.DataFrame(
        {"bar": [0, 2, 4], "leg": 0, "qty": [2.0, -1.0, -1.0], "price": [100.0, 112.0, 90.0], "fee": 1.0,
         "realised": [0.0, 12.0, -10.0], "position_qty": [2.0, 1.0, 0.0]}
    )  # fmt: skip
    trades = pl.DataFrame({"exit_bar": [2, 4], "gross": [12.0, -10.0]})
    return {"equity": equity, "fills": fills, "trades": trades, "close": [110.0, 105.0, 110.0, 95.0, 91.0]}


def test_record_of_a_case_by_hand():
    found = daily_record(**by_hand(), initial_cash_quote=1000.0)
    expected = {
        "day": ["2024-01-31", "2024-02-01", "2024-02-02", "2024-02-03"],
        "opening": [1000.0, 1007.0, 1006.0, 1006.0],
        "realised": [0.0, 12.0, 0.0, -10.0],
        "unrealised_change": [10.0, -15.0, 0.0, 5.0],  # 2 x 5; 1 x -5 from 10; none; 0 from -5
        "fees": [1.0, 1.0, 0.0, 1.0],
        "funding": [-2.0, 3.0, 0.0, 0.0],
        "interest": [0.0] * 4,
        "deposits": [0.0] * 4,
        "closing": [1007.0, 1006.0, 1006.0, 1000.0],
        "slippage": [0.5, 0.25, 0.0, 0.125],
        "turnover": [200.0, 112.0, 0.0, 90.0],
        "trades": [0, 1, 0, 1],
        "fills": [1, 1, 0, 1],
        "day_drawdown_frac": [1007 / 1019 - 1, 1006 / 1018 - 1, 0.0, 1000 / 1006 - 1],
        "drawdown_frac": [1007 / 1019 - 1, 1006 / 1019 - 1, 1006 / 1019 - 1, 1000 / 1019 - 1],
        "largest_exposure": [220 / 1019, 110 / 1018, 95 / 1006, 0.0],
        "position": [2.0, 1.0, 1.0, 0.0],
    }
    assert found.columns == list(expected)
    assert found.with_columns(pl.col("day").cast(pl.String)).to_dict(as_series=False) == expected
    assert residual(found).tolist() == [0.0] * 4


def test_months_lead_from_the_first_opening_to_the_last_closing():
    found = monthly_sums(daily_record(**by_hand(), initial_cash_quote=1000.0))
    assert found["month"].to_list() == ["2024-01", "2024-02"]
    assert found["days"].to_list() == [1, 3]
    assert found["opening"].to_list() == [1000.0, 1007.0]
    assert found["closing"].to_list() == [1007.0, 1000.0]
    assert found["realised"].to_list() == [0.0, 2.0]
    assert found["fills"].to_list() == [1, 2]
    assert found["drawdown_frac"].to_list() == [1007 / 1019 - 1, 1000 / 1019 - 1]
    assert found["largest_exposure"].to_list() == [220 / 1019, 110 / 1018]
    assert found["position"].to_list() == [2.0, 0.0]
    assert residual(found).tolist() == [0.0, 0.0]


def changed(name: str, column: str, row: int, value: float) -> dict:
    parts = by_hand()
    values = parts[name][column].to_list()
    values[row] = value
    return parts | {name: parts[name].with_columns(pl.Series(column, values))}


@pytest.mark.parametrize(
    ("name", "column", "row", "value", "told"),
    [
        ("equity", "equity", 3, 1006.01, r"2024-02-01: must reconcile with the closing equity.*0\.00999"),
        ("equity", "funding", 1, -1.0, "2024-01-31: must reconcile with the closing equity"),
        ("fills", "fee", 1, 2.0, "2024-02-01: must reconcile with the fees of the fills"),
        ("fills", "price", 0, 99.0, "until bar 4: must leave nothing unrealised where flat"),
        ("fills", "realised", 2, -9.0, "until bar 4: must leave nothing unrealised where flat"),
        ("trades", "gross", 0, 11.0, "2024-02-01: must reconcile with the gross of the trades closed"),
        ("equity", "equity", 3, float("nan"), "equity: must be finite"),
    ],
)
def test_record_that_does_not_reconcile_is_refused(name, column, row, value, told):
    with pytest.raises(InvalidInput, match=told.replace(":", ".?")):
        daily_record(**changed(name, column, row, value), initial_cash_quote=1000.0)


def test_record_asks_for_its_columns_and_closes():
    parts = by_hand()
    with pytest.raises(SchemaMismatch, match=r"fills\.realised"):
        daily_record(**parts | {"fills": parts["fills"].drop("realised")}, initial_cash_quote=1000.0)
    with pytest.raises(InvalidInput, match="one value for each of the 5 bars"):
        daily_record(**parts | {"close": [1.0]}, initial_cash_quote=1000.0)
    with pytest.raises(InvalidInput, match="known at or before the first bar with a position"):
        daily_record(**parts | {"close": [float("nan"), 105.0, 110.0, 95.0, 91.0]}, initial_cash_quote=1000.0)


@given(everything(legs=(1, 2)))
@settings(max_examples=15)
def test_record_of_any_account_reconciles_and_keeps_every_sum(case: Case):
    ledger = case.push(case.portfolio())
    rows, fills, ts = ledger.rows, ledger.fills, times(case.n, case.step_ns)
    equity = records_frame(rows).insert_column(0, pl.Series("ts", ts).cast(TS))
    cash = case.settings["initial_cash_quote"]
    closed = records_frame(closed_trades(fills))
    found = daily_record(equity, records_frame(fills), closed, case.columns["close"], initial_cash_quote=cash)
    # Each day apart, in rational numbers: no order of summation, no tolerance.
    bar_day = [int(t) // NS_PER_DAY for t in ts]
    for k, day in enumerate(range(bar_day[0], bar_day[-1] + 1)):
        mine = [i for i, d in enumerate(bar_day) if d == day]
        made = found.row(k, named=True)
        assert made["closing"] == rows["equity"][mine[-1]]
        assert made["opening"] == (cash if k == 0 else rows["equity"][mine[0] - 1])
        assert made["funding"] == pytest.approx(float(sum(Fraction(float(rows["funding"][i])) for i in mine)), abs=1e-9)
        done = [f for f in fills if int(f["bar"]) in mine]
        assert made["fills"] == len(done)
        assert made["turnover"] == pytest.approx(
            float(sum(abs(Fraction(float(f["qty"])) * Fraction(float(f["price"]))) for f in done)), rel=1e-12
        )
        assert made["day_drawdown_frac"] <= 0.0
        assert made["drawdown_frac"] <= made["day_drawdown_frac"] + 1e-15 or k == 0
    assert found["fees"].sum() == pytest.approx(float(rows["fee"].sum()), abs=1e-9)
    assert float(np.abs(residual(found)).max()) <= 1e-9 * max(cash, float(np.abs(rows["equity"]).max()), 1e6)


def test_record_of_a_backtest_is_that_of_its_tables():
    n = 2 * 1_440
    close = 100.0 * np.exp(np.cumsum(np.random.default_rng(5).normal(0.0, 1e-3, n))).round(4)
    ts = pl.Series("ts", times(n)).cast(TS)
    bars = pl.DataFrame({"ts": ts, "open": close, "high": close, "low": close, "close": close, "volume": 1e6})
    exposure = np.repeat([0.0, 0.5, -0.5, 0.0], n // 4)
    result = simulate(bars, exposure, instrument=SOL, costs=Costs(), initial_cash_quote=10_000.0)
    found = daily_record_of(result)
    assert found.height == 2
    assert found["closing"][-1] == result.equity["equity"][-1]
    assert found["trades"].sum() == result.trades.height > 0
    assert found["largest_exposure"].max() == pytest.approx(result.exposure.gross.max(), rel=1e-12)
