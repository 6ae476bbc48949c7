"""Decisions, fills and money of a sweep against vectorbt's own simulation of the same rule.

Nothing of ours is handed over. On prices without ticks and a spot instrument with lots too fine to matter, as vectorbt
has neither; all in or out, which it calls an infinite size. Lots so fine are thousands of millions: a product of two
overflows 64 bits, which is how this test found one.
"""

import math

import numpy as np
import polars as pl
import pytest

from research.backtest import sweep
from research.execution import Costs
from research.market.bars import TS
from research.market.instruments import Instrument, Terms
from research.policy import PolicySpec

MINUTE_NS, START_NS, N = 60 * 10**9, 1_704_067_200 * 10**9, 30_000
PAIRS = [(5, 20), (10, 60), (30, 45), (60, 240)]
FEE, SLIPPAGE, CASH = 5.5e-4, 1e-4, 10_000.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of pandas and vectorbt about themselves
def test_a_sweep_of_crossovers_is_vectorbts():
    import pandas as pd
    import vectorbt as vbt

    rng = np.random.Generator(np.random.PCG64(17))
    close = 3_000.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, N)))
    # Never below the close before: the cash bounds every purchase then, and vectorbt's "all in" is ours.
    opens = np.concatenate(([3_000.0], close[:-1])) * (1.0 + 1e-4 * rng.random(N))
    bars = pl.DataFrame(
        {
            "ts": START_NS + MINUTE_NS * np.arange(N),
            "open": opens,
            "high": np.maximum(opens, close),
            "low": np.minimum(opens, close),
            "close": close,
        }
    ).with_columns(pl.col("ts").cast(TS))
    spec = PolicySpec(
        base_interval="1m",
        decision_interval="1m",
        features={"fast": {"feature": "sma", "length": 5}, "slow": {"feature": "sma", "length": 20}},
        strategy="crossover",
        strategy_inputs={"fast": "fast", "slow": "slow"},
        strategy_params={"allow_short": 0},
        sizer="fixed",
        sizer_params={"exposure": 1.0},
    )
    terms = Terms(0, 1e-9, 1e-9, 1e-9, math.inf, 0.0, 10.0, 10.0, 0.0, 1.0)
    spot = Instrument("test", "spot", "XUSDT", "X", "USDT", (terms,))
    table = sweep(
        bars, spec, [{"features.fast.length": f, "features.slow.length": s} for f, s in PAIRS], instrument=spot,
        costs=Costs(taker_fee_bps=FEE * 1e4, slippage_bps=SLIPPAGE * 1e4), initial_cash_quote=CASH,
    )  # fmt: skip

    index = pd.DatetimeIndex(bars["ts"].to_numpy().astype("datetime64[ns]"))
    series, price = pd.Series(close, index=index), pd.Series(opens, index=index)
    for (fast, slow), row in zip(PAIRS, table.iter_rows(named=True), strict=True):
        lines = series.rolling(fast).mean(), series.rolling(slow).mean()
        above = (lines[0] > lines[1]).where(lines[1].notna())
        goes_in = above.eq(1.0) & ~above.shift().eq(1.0)
        goes_out = above.eq(0.0) & above.shift().eq(1.0)
        held = vbt.Portfolio.from_signals(
            series, goes_in.shift(1, fill_value=False), goes_out.shift(1, fill_value=False), price=price, fees=FEE,
            slippage=SLIPPAGE, init_cash=CASH, freq="1min",
        )  # fmt: skip
        figures = {
            "fills": float(held.orders.count()),
            "total_return": float(held.total_return()),
            "max_drawdown": float(held.max_drawdown()),
            "fees": float(held.orders.fees.sum()),
        }
        days = held.value().resample("1D").last()
        daily = days.pct_change()
        daily.iloc[0] = days.iloc[0] / CASH - 1.0
        figures["sharpe"] = float(daily.mean() / daily.std(ddof=1) * math.sqrt(365.0))
        assert figures["fills"] > 50
        for name, value in figures.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (fast, slow, name)
