"""Newest confirmed swing high and low, and their labels. Registered in the catalogue as ``swings``."""

from __future__ import annotations

import math

from research.features.structure.swing_points import (
    HIGH,
    HIGH_BAR,
    LOW,
    LOW_BAR,
    OWN,
    SEEN,
    follow_swings,
    high_label,
    low_label,
    swing_rings_size,
    swing_trend,
    swings_warmup,
)
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def swings(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the newest confirmed swing high and low, and market structure: HH, HL, LH, LL and the trend.

    Bar :math:`p` is a swing high, known from bar :math:`p + right` on, where

    .. math::

        h_p > \max_{1 \le i \le left} h_{p-i} \quad\text{and}\quad h_p \ge \max_{1 \le i \le right} h_{p+i}

    and a swing low with the signs of the lows turned round.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    left : int
        Bars before a swing, all of which it has to exceed: a swing high with its high, a swing low with its low.
    right : int
        Bars after a swing, none of which may exceed it. It is confirmed, and known, that many bars late.
    max_age : int
        A swing more bars old than this is forgotten.
    state : (10 + 2 (left + right + 1),) array
        As ``follow_swings``.
    out : (9, n) array
        NaN until ``left + right + 1`` bars were seen.

        ``high``, ``low``: level of the newest swing high and low, the close while there is none.
        ``high_distance``, ``low_distance``: (close - level) / close.
        ``high_age``, ``low_age``: bars since the swing itself, from ``right`` to ``max_age``, which is also none.
        ``high_label``: 1 higher high, -1 lower high; ``low_label``: 1 higher low, -1 lower low; 0 if equal, or if one
        of the two newest is unknown.
        ``trend``: 1 if both labels are 1, -1 if both are -1, else 0.

    Notes
    -----
    Charts draw a swing at its own bar, ``right`` bars before anybody could have known it. Here it appears at the
    close that confirms it, and its age says how late that is.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            for j in range(9):
                out[j, i] = math.nan
            continue
        follow_swings(state, OWN, left, right, max_age, top, bottom)
        seen = state[SEEN]
        if seen < left + right + 1:
            for j in range(9):
                out[j, i] = math.nan
            continue
        above, below = state[HIGH], state[LOW]
        above_age, below_age = seen - state[HIGH_BAR], seen - state[LOW_BAR]
        if above == 0.0:
            above, above_age = price, float(max_age)
        if below == 0.0:
            below, below_age = price, float(max_age)
        out[0, i], out[1, i] = above, below
        out[2, i], out[3, i] = (price - above) / price, (price - below) / price
        out[4, i], out[5, i] = above_age, below_age
        out[6, i], out[7, i] = high_label(state), low_label(state)
        out[8, i] = swing_trend(state)


SPEC = KernelSpec(
    name="swings",
    kernel=swings,
    inputs=("high", "low", "close"),
    params=(Param("left", 5, 1, 1_000), Param("right", 5, 1, 1_000), Param("max_age", 100, 10, 100_000)),
    outputs=(
        "high", "low", "high_distance", "low_distance", "high_age", "low_age", "high_label", "low_label", "trend",
    ),
    state_size=lambda left, right, max_age: OWN + swing_rings_size(left, right),
    lookback=lambda left, right, max_age: left + right + 1,
    warmup=swings_warmup,
    warmup_rtol=0.0,
    unit="quote currency; fraction of the close; bars; sign",
    gap=GAP,
    reference="R. Rhea, The Dow Theory, 1932 (higher highs and lows); B. Williams, Trading Chaos, 1995 (fractals)",
)  # fmt: skip
