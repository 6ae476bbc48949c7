"""Closed trades from fills, and their statistics; it marks no open position.

A trade is one reduction of a position: what was closed, against the average entry, with its share of the fees and
the funding gathered so far. A reversal closes everything and opens the rest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.kernel import kernel
from research.metrics.returns import finite_series, for_kernel, is_constant

# One row per closed trade. `leg` and `exit_role` are those of the fill that closed it; `side` is that of the position
# (+1 long), `qty` positive base units, prices averages; `gross`, `fee` (paid), `funding` (received) and `pnl` = gross -
# fee + funding in quote currency; `slippage` (paid) is within the prices already; `return_frac` = pnl over the entry's
# notional; `entry_ts` and `entry_bar` are those of the fill that opened the position.
TRADES = np.dtype(
    [
        ("leg", "i8"),
        ("entry_ts", "i8"),
        ("exit_ts", "i8"),
        ("entry_bar", "i8"),
        ("exit_bar", "i8"),
        ("side", "i8"),
        ("qty", "f8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("gross", "f8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
        ("pnl", "f8"),
        ("return_frac", "f8"),
        ("exit_role", "i8"),
    ]
)

# What a leg's open position has gathered and not yet given to a trade.
_OPEN = np.dtype(
    [
        ("held", "f8"),
        ("entry_price", "f8"),
        ("entry_ts", "i8"),
        ("entry_bar", "i8"),
        ("fee", "f8"),
        ("slippage", "f8"),
        ("funding", "f8"),
    ]
)


@kernel
def match_fills(fills: NDArray[Any], legs: NDArray[Any], trades: NDArray[Any]) -> int:
    """Write one trade for every fill that reduces its leg's position; return how many.

    The position following each fill is the fills' own, exact, so that no residue of summed quantities is left over.
    ``legs`` is zeros, one row per leg; ``trades`` must be as long as the fills.
    """
    count = 0
    for k in range(fills.shape[0]):
        fill = fills[k]
        leg = legs[fill["leg"]]
        qty, after, price, held = fill["qty"], fill["position_qty"], fill["price"], leg["held"]
        leg["funding"] += fill["funding"]
        if held != 0.0 and (held > 0.0) != (qty > 0.0):
            is_reversal = after != 0.0 and (after > 0.0) != (held > 0.0)
            closed = abs(held) if is_reversal or after == 0.0 else abs(qty)
            exit_share, held_share = closed / abs(qty), closed / abs(held)
            side = 1.0 if held > 0.0 else -1.0
            row = trades[count]
            row["leg"], row["exit_role"] = fill["leg"], fill["role"]
            row["entry_ts"], row["exit_ts"] = leg["entry_ts"], fill["ts"]
            row["entry_bar"], row["exit_bar"] = leg["entry_bar"], fill["bar"]
            row["side"], row["qty"] = int(side), closed
            row["entry_price"], row["exit_price"] = leg["entry_price"], price
            row["gross"] = side * closed * (price - leg["entry_price"])
            row["fee"] = leg["fee"] * held_share + fill["fee"] * exit_share
            row["slippage"] = leg["slippage"] * held_share + fill["slippage"] * exit_share
            row["funding"] = leg["funding"] * held_share
            row["pnl"] = row["gross"] - row["fee"] + row["funding"]
            row["return_frac"] = row["pnl"] / (closed * leg["entry_price"])
            count += 1
            leg["fee"] *= 1.0 - held_share
            leg["slippage"] *= 1.0 - held_share
            leg["funding"] *= 1.0 - held_share
            if is_reversal:
                leg["entry_ts"], leg["entry_bar"], leg["entry_price"] = fill["ts"], fill["bar"], price
                leg["fee"], leg["slippage"] = fill["fee"] * (1.0 - exit_share), fill["slippage"] * (1.0 - exit_share)
        else:
            if held == 0.0:
                leg["entry_ts"], leg["entry_bar"], leg["entry_price"] = fill["ts"], fill["bar"], price
            else:
                leg["entry_price"] += (price - leg["entry_price"]) * (qty / after)
            leg["fee"] += fill["fee"]
            leg["slippage"] += fill["slippage"]
        leg["held"] = after
    return count


def closed_trades(fills: NDArray[Any]) -> NDArray[Any]:
    """Return the closed trades of one account's fills, each leg on its own.

    Parameters
    ----------
    fills : array of research.execution.FILLS
        All fills since the positions were last flat, in order; a bar may have any number of them.

    Returns
    -------
    array of TRADES
        In the order of their exits. What is still open is not in it.
    """
    trades = np.zeros(fills.shape[0], TRADES)
    legs = np.zeros(int(fills["leg"].max()) + 1 if fills.size else 0, _OPEN)
    return trades[: match_fills(for_kernel(fills, fills.dtype), legs, trades)]


def round_trips(position_qty: ArrayLike) -> int:
    """Return how often a position was ended: closed to flat, or reversed.

    Parameters
    ----------
    position_qty : (n,) array_like
        Signed position after each fill, from flat; exact, as the fills have it.

    Returns
    -------
    int
        At most the number of closed trades, which are reductions: a position built once and reduced in ten steps
        makes ten trades and one round trip. A position still open is none.

    Raises
    ------
    InvalidInput
        If a position is not finite.

    Examples
    --------
    >>> round_trips([2.0, 1.0, 0.0, -1.0, 3.0, 2.0])
    2
    """
    side = np.sign(finite_series(position_qty, "position_qty"))
    before = np.concatenate(([0.0], side[:-1]))
    return int(((before != 0.0) & (side != before)).sum())


def profit_factor(pnl: ArrayLike) -> float:
    """Return the sum of net profits over the sum of net losses.

    Returns
    -------
    float
        Infinite without a losing trade, 0 without a winning one, NaN with neither.

    Examples
    --------
    >>> profit_factor([30.0, -10.0, 0.0]), profit_factor([10.0]), profit_factor([])
    (3.0, inf, nan)
    """
    values = finite_series(pnl, "pnl")
    # abs() of the sum, not its negation: the negated empty sum is -0.0, and a profit over -0.0 is minus infinity.
    gains, losses = float(values[values > 0].sum()), abs(float(values[values < 0].sum()))
    if losses == 0.0:
        return math.inf if gains > 0 else math.nan
    return gains / losses


def win_rate(pnl: ArrayLike) -> float:
    """Return the share of trades with a net profit; break-even trades count as trades. NaN without trades."""
    values = finite_series(pnl, "pnl")
    return float((values > 0).mean()) if values.size else math.nan


def expectancy(pnl: ArrayLike) -> float:
    """Return the mean net profit per trade, quote currency; NaN without trades."""
    values = finite_series(pnl, "pnl")
    return float(values.mean()) if values.size else math.nan


def payoff_ratio(pnl: ArrayLike) -> float:
    """Return the mean net profit of winners over the mean net loss of losers; NaN where one side is empty."""
    values = finite_series(pnl, "pnl")
    winners, losers = values[values > 0], values[values < 0]
    return float(winners.mean() / abs(losers.mean())) if winners.size and losers.size else math.nan


def expectancy_ratio(pnl: ArrayLike) -> float:
    """Return the mean net profit per trade in mean losses of losers: what one unit at risk earns.

    Break-even trades count as losses, as in the win rate: ``(1 + payoff) * win_rate - 1``. NaN where one side is empty.
    """
    return (1.0 + payoff_ratio(pnl)) * win_rate(pnl) - 1.0


def system_quality_number(pnl: ArrayLike, ddof: int = 1) -> float:
    """Return Van Tharp's SQN: root of the count times mean over standard deviation, uncapped.

    ``ddof`` is that of the deviation; libraries differ (1 here and in backtesting.py, 0 in backtrader). NaN with fewer
    than two trades or when all are equal.

    References
    ----------
    .. [1] V. K. Tharp, "The Definitive Guide to Position Sizing", 2008.
    """
    values = finite_series(pnl, "pnl")
    if values.size < 2 or is_constant(values):
        return math.nan
    return float(math.sqrt(values.size) * values.mean() / values.std(ddof=ddof))
