"""The headline figures of a backtest's result in one dictionary; each is computed in research.metrics."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from research.execution.records import Reason, Status
from research.market.bars import NS_PER_DAY, NS_PER_MINUTE
from research.metrics.costs import cost_share
from research.metrics.exposure import mean_exposure
from research.metrics.performance import curve_performance, trade_performance
from research.metrics.positions import closed_positions
from research.metrics.trades import closed_trades, win_rate

if TYPE_CHECKING:
    from research.backtest.result import Result

_NS_PER_HOUR = 60 * NS_PER_MINUTE


def result_metrics(result: Result) -> dict[str, float]:
    """Return the figures that :meth:`research.backtest.Result.metrics` describes."""
    ledger, sums, n = result.ledger, result.totals, result.ts.size
    fills, orders = ledger.fills, ledger.orders
    trades, trips = closed_trades(fills), closed_positions(fills)
    curve = curve_performance(result.ts, sums.equity, result.bars_per_year, result.initial_cash_quote)
    final, settled = float(sums.equity[-1]), result.funding_settlements
    gain = final - result.initial_cash_quote
    held = trips["exit_ts"] - trips["entry_ts"]
    other_order = sums.ambiguous if result.intrabar == "worse" else -sums.ambiguous
    bars_held, gross = mean_exposure(fills["bar"], fills["leg"], fills["position_qty"], result.close, sums.equity)
    traded = _traded(fills)
    is_liquidation = (orders["status"] == Status.FILLED) & (orders["reason"] == Reason.LIQUIDATION)
    return {
        **curve,
        **trade_performance(trades["pnl"]),
        "trades_per_day": trades.size * NS_PER_DAY / (n * result.step_ns),
        **_by_side(trades),
        "round_trips": float(trips.size),
        "holding_hours": float(held.mean()) / _NS_PER_HOUR if held.size else math.nan,
        "final_equity": final,
        "pnl_worst": min(gain, gain + other_order),
        "pnl_best": max(gain, gain + other_order),
        "ambiguous_bars": float(sums.ambiguous_bars),
        "fees": sums.fee,
        "slippage": sums.slippage,
        "funding": sums.funding,
        "interest": sums.interest,
        "cost_share": cost_share(gain, sums.fee, sums.slippage, sums.funding, sums.interest),
        "funding_settlements": float(settled),
        "funding_on_mark_frac": result.funding_on_mark / settled if settled else math.nan,
        "turnover": sum(traded) / result.initial_cash_quote,
        "turnover_per_year": sum(traded) / result.initial_cash_quote * result.bars_per_year / n,
        "exposure_time": bars_held / n,
        "gross_exposure": gross,
        "max_margin_ratio": sums.largest_margin_ratio,
        "fills": float(fills.size),
        "maker_fills": float(np.count_nonzero(fills["is_maker"])),
        "maker_share": traded[1] / sum(traded) if fills.size else math.nan,
        "orders": float(orders.size + result.pending.size),
        "orders_rejected": float(np.count_nonzero(orders["status"] == Status.REJECTED)),
        "liquidations": float(np.count_nonzero(is_liquidation)),
        "is_ruined": float(result.is_ruined),
    }


def _traded(fills: NDArray[Any]) -> tuple[float, float]:
    """Return the notional traded as taker and as maker, quote currency."""
    notional = np.abs(fills["qty"] * fills["price"])
    is_maker = fills["is_maker"] != 0
    return float(notional[~is_maker].sum()), float(notional[is_maker].sum())


def _by_side(trades: NDArray[Any]) -> dict[str, float]:
    """Return number, hits and profit of the trades of long and of short positions."""
    found: dict[str, float] = {}
    for name, side in (("long", 1), ("short", -1)):
        pnl = trades["pnl"][trades["side"] == side]
        found |= {f"{name}_trades": float(pnl.size), f"{name}_win_rate": win_rate(pnl), f"{name}_pnl": float(pnl.sum())}
    return found
