"""Closed trades from fills, and their statistics; it marks no open position.

A trade is one reduction of a position: what was closed, against the average entry, with its share of the fees and
the funding gathered so far. A reversal closes everything and opens the rest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.kernel import FloatArray, IntArray, kernel
from research.metrics.returns import finite_series, is_constant

# One row per closed trade. `side` is that of the position (+1 long), `qty` positive base units, prices averages;
# `gross`, `fee` (paid), `funding` (received) and `pnl` = gross - fee + funding in quote currency; `slippage` (paid)
# is within the prices already; `return_frac` = pnl over the entry's notional; `entry_ts` is the fill that opened
# the position.
TRADES = np.dtype(
    [
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
    ]
)


@kernel
def match_fills(
    ts: IntArray, bar: IntArray, qty: FloatArray, after: FloatArray, price: FloatArray, fee: FloatArray,
    slippage: FloatArray, funding: FloatArray, trades: NDArray[Any],
) -> int:  # fmt: skip
    """Write one trade for every fill that reduces the position; return how many.

    ``after`` is the position following each fill, exact, so that no residue of summed quantities is left over.
    ``trades`` must be as long as the fills.
    """
    count, held, entry_price = 0, 0.0, 0.0
    entry_ts, entry_bar = 0, 0
    fees = slips = funds = 0.0  # gathered by the open position and not yet given to a trade
    for k in range(ts.shape[0]):
        funds += funding[k]
        if held != 0.0 and (held > 0.0) != (qty[k] > 0.0):
            is_reversal = after[k] != 0.0 and (after[k] > 0.0) != (held > 0.0)
            closed = abs(held) if is_reversal or after[k] == 0.0 else abs(qty[k])
            exit_share, held_share = closed / abs(qty[k]), closed / abs(held)
            side = 1.0 if held > 0.0 else -1.0
            row = trades[count]
            row["entry_ts"], row["exit_ts"] = entry_ts, ts[k]
            row["entry_bar"], row["exit_bar"] = entry_bar, bar[k]
            row["side"], row["qty"] = int(side), closed
            row["entry_price"], row["exit_price"] = entry_price, price[k]
            gross = side * closed * (price[k] - entry_price)
            row["gross"] = gross
            row["fee"] = fees * held_share + fee[k] * exit_share
            row["slippage"] = slips * held_share + slippage[k] * exit_share
            row["funding"] = funds * held_share
            row["pnl"] = gross - row["fee"] + row["funding"]
            row["return_frac"] = row["pnl"] / (closed * entry_price)
            count += 1
            fees, slips, funds = fees * (1.0 - held_share), slips * (1.0 - held_share), funds * (1.0 - held_share)
            if is_reversal:
                entry_ts, entry_bar, entry_price = ts[k], bar[k], price[k]
                fees, slips = fee[k] * (1.0 - exit_share), slippage[k] * (1.0 - exit_share)
        else:
            if held == 0.0:
                entry_ts, entry_bar, entry_price = ts[k], bar[k], price[k]
            else:
                entry_price += (price[k] - entry_price) * (qty[k] / after[k])
            fees, slips = fees + fee[k], slips + slippage[k]
        held = after[k]
    return count


def closed_trades(fills: NDArray[Any]) -> NDArray[Any]:
    """Return the closed trades of one account's fills.

    Parameters
    ----------
    fills : array of research.execution.FILLS
        All fills since the position was last flat, in order.

    Returns
    -------
    array of TRADES
        In the order of their exits. What is still open is not in it.
    """
    trades = np.zeros(fills.shape[0], TRADES)
    ts, bar, qty, after, price, fee, slippage, funding = (
        np.ascontiguousarray(fills[name])
        for name in ("ts", "bar", "qty", "position_qty", "price", "fee", "slippage", "funding")
    )
    count = match_fills(ts, bar, qty, after, price, fee, slippage, funding, trades)
    return trades[:count].copy()


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


def system_quality_number(pnl: ArrayLike) -> float:
    """Return Van Tharp's SQN: root of the count times mean over standard deviation (``ddof=1``), uncapped.

    NaN with fewer than two trades or when all are equal.

    References
    ----------
    .. [1] V. K. Tharp, "The Definitive Guide to Position Sizing", 2008.
    """
    values = finite_series(pnl, "pnl")
    if values.size < 2 or is_constant(values):
        return math.nan
    return float(math.sqrt(values.size) * values.mean() / values.std(ddof=1))
