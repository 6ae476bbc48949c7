"""Figures that an account gathers of its own equity curve, bar by bar, so that a sweep need not keep the curve.

The definitions are those of :mod:`research.metrics`; a test holds the two against each other.
"""

from __future__ import annotations

from research.execution.books import Record
from research.kernel import FloatArray, kernel
from research.market.bars import NS_PER_DAY


@kernel
def end_day(account: Record, equity: float, daily: FloatArray) -> None:
    """Take the return of the day under way, which ends with ``equity``, into the sums; write it if there is room.

    Sums of squares are of deviations from the running mean (Welford), so that small returns lose no digits.
    """
    start = account["day_start_equity"]
    earned = (equity - start) / start if start > 0.0 else 0.0
    n = account["days"]
    if n < daily.shape[0]:
        daily[n] = earned
    n += 1
    account["days"] = n
    apart = earned - account["day_mean"]
    account["day_mean"] += apart / n
    account["day_m2"] += apart * (earned - account["day_mean"])
    if earned > 0.0:
        account["day_gains"] += earned
    else:
        account["day_losses"] -= earned
        account["day_losses_squared"] += earned * earned
    account["day_start_equity"] = equity


@kernel
def begin_bar(account: Record, ts: int, daily: FloatArray) -> None:
    """End the day before where a bar opens a new one; to be called before the bar changes the equity."""
    if ts >= (account["day"] + 1) * NS_PER_DAY:
        if account["bar"] > 0:
            end_day(account, account["equity"], daily)
        account["day"] = ts // NS_PER_DAY


@kernel
def mark_equity(account: Record, equity: float) -> None:
    """Take a bar's closing equity into peak and drawdown; ``account.bar`` is still that of the bar."""
    if equity >= account["peak"]:
        account["longest_drawdown"] = max(account["longest_drawdown"], account["bar"] - account["under_since"])
        account["peak"] = equity
        account["under_since"] = account["bar"] + 1
    elif equity - account["peak"] < account["max_drawdown"] * account["peak"]:  # no division but for a new depth
        account["max_drawdown"] = (equity - account["peak"]) / account["peak"]
