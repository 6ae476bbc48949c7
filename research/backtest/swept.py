"""The figures of a swept account, from what it gathered on its way; the curve itself is not kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from research.metrics.costs import cost_share
from research.metrics.returns import DAYS_PER_YEAR, NOISE, cagr


def figures_of(
    account: Any, initial_cash_quote: float, n_bars: int, bars_per_year: float, intrabar: str
) -> dict[str, float]:
    """Return an account's figures, those of :meth:`research.backtest.Result.metrics` that need no curve.

    Parameters
    ----------
    account : record of STATE
        After its last bar.
    initial_cash_quote : float
    n_bars : int
    bars_per_year : float
    intrabar : str
        Which order of events was kept: ``worse`` or ``better``.

    Returns
    -------
    dict of str to float
        Under the same names and conventions; NaN is a figure that does not exist.
    """
    days, mean, spread = _days(account)
    deviation = math.sqrt(spread / (days - 1)) if days > 1 else math.nan
    growth = float(account["equity"]) / initial_cash_quote
    rate = cagr(growth, n_bars, bars_per_year) if n_bars >= bars_per_year else math.nan
    depth = float(account["max_drawdown"])
    year = math.sqrt(DAYS_PER_YEAR)
    is_flat = not deviation > NOISE * (1.0 + abs(mean))
    trades, wins, trips = int(account["trades"]), int(account["wins"]), int(account["round_trips"])
    won, lost = float(account["won"]), float(account["lost"])
    fees, slippage = float(account["fees"]), float(account["slippage"])
    funding, interest = float(account["funding"]), float(account["interest"])
    gain = float(account["equity"]) - initial_cash_quote
    other = gain + float(account["ambiguous"]) * (1.0 if intrabar == "worse" else -1.0)
    hours = 24.0 * DAYS_PER_YEAR / bars_per_year
    return {
        "total_return": growth - 1.0,
        "annual_return": mean * DAYS_PER_YEAR if days else math.nan,
        "cagr": rate,
        "volatility": deviation * year,
        "sharpe": math.nan if is_flat else mean / deviation * year,
        "sortino": _sortino(account, days, mean) * year,
        "omega": _ratio(*_gains_and_losses(account)),
        "max_drawdown": depth,
        "longest_drawdown_bars": float(max(account["longest_drawdown"], account["bar"] - account["under_since"])),
        "calmar": rate / abs(depth) if depth < 0.0 else math.nan,
        "days": float(days),
        "trades": float(trades),
        "round_trips": float(trips),
        "win_rate": wins / trades if trades else math.nan,
        "profit_factor": _ratio(won, lost),
        "expectancy": float(account["trade_sum"]) / trades if trades else math.nan,
        "payoff_ratio": (won / wins) / (lost / (trades - wins)) if 0 < wins < trades and lost > 0.0 else math.nan,
        "sqn": _sqn(account, trades),
        "holding_hours": float(account["held_bars"]) / trips * hours if trips else math.nan,
        "trades_per_day": trades / (n_bars * hours / 24.0) if n_bars else math.nan,
        "exposure_time": float(account["bars_held"]) / n_bars if n_bars else math.nan,
        "turnover": float(account["traded"]) / initial_cash_quote,
        "fees": fees,
        "slippage": slippage,
        "funding": funding,
        "interest": interest,
        "cost_share": cost_share(float(account["equity"]) - initial_cash_quote, fees, slippage, funding, interest),
        "fills": float(account["fills"]),
        "orders": float(account["orders"] + account["n_open"]),
        "orders_rejected": float(account["rejected"]),
        "liquidations": float(account["liquidations"]),
        "ambiguous_bars": float(account["ambiguous_bars"]),
        "pnl_worst": min(gain, other),
        "pnl_best": max(gain, other),
        "final_equity": float(account["equity"]),
        "is_ruined": float(account["is_ruined"] != 0),
    }


def last_day(account: Any) -> float:
    """Return the return of the day under way, which the account has not yet counted."""
    start = float(account["day_start_equity"])
    return (float(account["equity"]) - start) / start if start > 0.0 else 0.0


def _days(account: Any) -> tuple[int, float, float]:
    """Return number, mean and sum of squared deviations of the daily returns, the day under way counted."""
    n, mean, spread = int(account["days"]), float(account["day_mean"]), float(account["day_m2"])
    if account["bar"] == 0:
        return n, mean, spread
    earned = last_day(account)
    apart = earned - mean
    mean += apart / (n + 1)
    return n + 1, mean, spread + apart * (earned - mean)


def _gains_and_losses(account: Any) -> tuple[float, float]:
    earned = last_day(account) if account["bar"] else 0.0
    return float(account["day_gains"]) + max(earned, 0.0), float(account["day_losses"]) + max(-earned, 0.0)


def _sortino(account: Any, days: int, mean: float) -> float:
    if not days:
        return math.nan
    shortfall = math.sqrt((float(account["day_losses_squared"]) + min(last_day(account), 0.0) ** 2) / days)
    if shortfall == 0.0:
        return math.inf if mean > 0.0 else math.nan
    return mean / shortfall


def _sqn(account: Any, trades: int) -> float:
    """Return the system quality number: mean over deviation of the trades' profits, times the root of their number."""
    if trades < 2:
        return math.nan
    mean = float(account["trade_sum"]) / trades
    spread = float(account["trade_sum_squares"]) - trades * mean * mean
    scale = np.finfo(np.float64).eps * 16.0 * float(account["trade_sum_squares"])
    return math.nan if spread <= scale else math.sqrt(trades) * mean / math.sqrt(spread / (trades - 1))


def _ratio(gains: float, losses: float) -> float:
    if losses == 0.0:
        return math.inf if gains > 0.0 else math.nan
    return gains / losses
