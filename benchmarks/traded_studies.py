"""Studies of the gate's calibration that are traded: a market is drawn, a grid swept on it, the best one held out.

It is imported by ``benchmarks.calibration`` and measures nothing itself. Prices are a random walk of five minutes,
0.1 % a bar (32 % a year), plus, where an edge is planted, a drift that forgets half of itself in four hours;
``edge`` is its deviation over a bar's: 0.05 explains a four-hundredth of a bar's variance. A martingale without costs
is the hardest noise: with costs every trial would lose, and no check would have to tell luck from skill.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from research.backtest import Result, Sweep, simulate
from research.execution import Costs
from research.market.bars import NS_PER_MINUTE, TS
from research.market.instruments import sample_instrument
from research.metrics.returns import DAYS_PER_YEAR, sharpe
from research.policy import BAR_INPUTS, Policy, PolicySpec
from research.predictor import Predictor
from research.validation import monte_carlo, walk_forward_folds
from research.validation.calibration import study_figures

DEVELOPMENT, HOLDOUT, PER_DAY = 180, 120, 288
DEVIATION, HALF_LIFE = 1e-3, 48
# A tick is 0.03 bp here. At a price of 100 it is 1 bp, and orders, rounded against the trader, would cost noise a
# Sharpe ratio of 0.8.
START, CASH = 3_000.0, 1e6
WINDOWS = (2, 4, 6, 9, 13, 18), (24, 32, 42, 55, 72, 95, 120, 150, 190, 240)
FREE = Costs(taker_fee_bps=0.0, half_spread_bps=0.0, slippage_bps=0.0)
SPEC = PolicySpec(
    base_interval="5m", decision_interval="5m",
    features={"fast": {"feature": "sma", "length": 5}, "slow": {"feature": "sma", "length": 50}},
    strategy="crossover", strategy_inputs={"fast": "fast", "slow": "slow"}, strategy_params={"allow_short": 1},
    sizer="fixed", sizer_params={"exposure": 1.0},
)  # fmt: skip
INSTRUMENT = sample_instrument("SOLUSDT")
PAIRS = [(fast, slow) for fast in WINDOWS[0] for slow in WINDOWS[1]]


def drawn_bars(generator: np.random.Generator, edge: float) -> pl.DataFrame:
    """Return the bars of one study."""
    from scipy.signal import lfilter

    n = (DEVELOPMENT + HOLDOUT) * PER_DAY
    kept = 0.5 ** (1.0 / HALF_LIFE)
    noise, shocks = generator.standard_normal((2, n))
    drift = lfilter([math.sqrt(1.0 - kept * kept)], [1.0, -kept], shocks)
    moves = DEVIATION * (noise + edge * drift) - 0.5 * DEVIATION**2
    close = START * np.exp(np.cumsum(moves))
    opened = np.concatenate(([START], close[:-1]))
    ts = 1_704_067_200 * 10**9 + 5 * NS_PER_MINUTE * np.arange(n)
    return pl.DataFrame(
        {"ts": pl.Series(ts).cast(TS), "open": opened, "high": np.maximum(opened, close),
         "low": np.minimum(opened, close), "close": close}
    )  # fmt: skip


def traded_figures(generator: np.random.Generator, number: int, edge: float, paths: int) -> dict[str, float]:
    """Return the gate's figures of one study; parity is taken as met."""
    bars = drawn_bars(generator, edge)
    grid = [{"features.fast.length": fast, "features.slow.length": slow} for fast, slow in PAIRS]
    sweep = Sweep(
        bars, SPEC, grid, instrument=INSTRUMENT, costs=FREE, initial_cash_quote=CASH, daily=True, threads=1
    )  # fmt: skip
    swept = sweep.run(progress=False)
    daily = swept.daily.drop("day").to_numpy()
    development, holdout = daily[:DEVELOPMENT], daily[DEVELOPMENT:]
    figures = study_figures(development, holdout, paths=paths, seed=number)
    figures |= {"walk_forward.sharpe": rolled_sharpe(development)}
    result = held_out(bars, *PAIRS[int(figures["selection.chosen"])])
    kept = ("sortino", "max_drawdown", "win_rate", "payoff_ratio", "profit_factor", "trades_per_day", "holding_hours",
            "cost_share")  # fmt: skip
    metrics = result.metrics()
    figures |= {f"backtest.{name}": metrics[name] for name in kept} | {"backtest.parity_differences": 0.0}
    trades = result.trades["return_on_equity_frac"].to_numpy()
    luck = monte_carlo(trades, paths=1_000, block=5, seed=number).interval("total", 0.90)[0]
    return figures | {"monte_carlo.closed_trade_return_p05": luck}


def rolled_sharpe(development: Any) -> float:
    """Return the ratio of choosing the best trial of 60 days for the next 7, over and over."""
    tested = []
    for fold in walk_forward_folds(development.shape[0], 60, 14, step=7):
        trained = development[fold.train_start : fold.train_stop]
        best = int((trained.mean(axis=0) / trained.std(axis=0, ddof=1)).argmax())
        tested.append(development[fold.test_start : fold.stitch_stop, best])
    return sharpe(np.concatenate(tested), DAYS_PER_YEAR)


def held_out(bars: pl.DataFrame, fast: int, slow: int) -> Result:
    """Return the chosen pair's backtest of the hold-out, flat at its start, the means warm."""
    lengths = {"fast": {"feature": "sma", "length": fast}, "slow": {"feature": "sma", "length": slow}}
    columns = {name: bars[name].to_numpy() for name in BAR_INPUTS if name in bars.columns}
    absent = {name: np.full(bars.height, np.nan) for name in BAR_INPUTS if name not in columns}
    decided = Policy(replace(SPEC, features=lengths), Predictor.none()).push(
        bars["ts"].to_physical().to_numpy(), columns | absent
    )
    begin = DEVELOPMENT * PER_DAY
    targets = decided.exposures_per_bar(bars.height)[begin:]
    return simulate(bars[begin:], targets, instrument=INSTRUMENT, costs=FREE, initial_cash_quote=CASH)
