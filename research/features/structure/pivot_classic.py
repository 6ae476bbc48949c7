"""Floor traders' pivot levels from the period before. Registered in the catalogue as ``pivot_classic``."""

from __future__ import annotations

import math

from research.features.structure.last_period import (
    LAST_CLOSE,
    LAST_HIGH,
    LAST_LOW,
    PERIOD_SIZE,
    follow_period,
    nearest_distance,
)
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

LEVELS = 7


@kernel
def pivot_classic(
    ts: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    period_minutes: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the classic pivot points (floor traders'): levels made of high, low and close of the period before.

    .. math::

        P &= (H + L + C) / 3 \\
        R_1 &= 2P - L, & R_2 &= P + (H - L), & R_3 &= H + 2 (P - L) \\
        S_1 &= 2P - H, & S_2 &= P - (H - L), & S_3 &= L - 2 (H - P)

    with :math:`H`, :math:`L` and :math:`C` the high, low and close of the last whole period before the bar's own.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    high, low, close : (n,) array
        Quote currency.
    period_minutes : int
        Length of a period; 1440 is the UTC day. Periods are counted from 1970-01-01, weeks therefore from a Thursday.
    state : (9,) array
        As ``follow_period``.
    out : (8, n) array
        The levels, then ``distance``: (close - nearest level) / close, of equally near ones the first. Before a whole
        period is known every level is the close and the distance 0.

    Notes
    -----
    The warm-up is counted in bars of one minute, and is longer than needed for all others: the rest of the period in
    which the run begins, which does not count, and one that does.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            for j in range(LEVELS + 1):
                out[j, i] = math.nan
            continue
        if not follow_period(state, ts[i], period_minutes, top, bottom, price):
            for j in range(LEVELS):
                out[j, i] = price
            out[LEVELS, i] = 0.0
            continue
        upper, lower, last = state[LAST_HIGH], state[LAST_LOW], state[LAST_CLOSE]
        pivot, span = (upper + lower + last) / 3.0, upper - lower
        out[0, i] = pivot
        out[1, i], out[2, i], out[3, i] = 2.0 * pivot - lower, pivot + span, upper + 2.0 * (pivot - lower)
        out[4, i], out[5, i], out[6, i] = 2.0 * pivot - upper, pivot - span, lower - 2.0 * (upper - pivot)
        out[LEVELS, i] = nearest_distance(out, LEVELS, i, price)


SPEC = KernelSpec(
    name="pivot_classic",
    kernel=pivot_classic,
    inputs=("ts", "high", "low", "close"),
    params=(Param("period_minutes", 1_440, 1, 44_640),),
    outputs=("pivot", "r1", "r2", "r3", "s1", "s2", "s3", "distance"),
    state_size=lambda period_minutes: PERIOD_SIZE,
    lookback=lambda period_minutes: 1,
    warmup=lambda period_minutes: 2 * period_minutes,
    warmup_rtol=0.0,
    unit="quote currency; fraction of the close",
    gap=GAP,
    reference="J. L. Person, A Complete Guide to Technical Trading Tactics, 2004",
)
