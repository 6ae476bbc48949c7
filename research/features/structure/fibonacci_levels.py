"""Retracement of the last confirmed leg and its levels. Registered in the catalogue as ``fibonacci_levels``."""

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
    swing_rings_size,
    swings_warmup,
)
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

BOUND = 10.0  # legs away from the leg that are still told apart


@kernel
def fibonacci_levels(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Fibonacci retracement of the leg between the newest confirmed swing high and swing low.

    .. math::

        R_t = \frac{E - c_t}{E - S}, \qquad F_r = E - r \, (E - S), \qquad r \in \{0.236, 0.382, 0.5, 0.618, 0.786\}

    with :math:`E` the newer of the two swings, where the leg ends, and :math:`S` the older, where it starts. On one
    bar that is both, the leg goes up.

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
    out : (8, n) array
        NaN until ``left + right + 1`` bars were seen. There is no leg while a swing is unknown, or the swing high is
        not above the swing low.

        ``direction``: 1 for a leg up, -1 for a leg down, 0 without a leg.
        ``retracement``: 0 at the end of the leg, 1 at its start, below 0 beyond its end; held within 10 either way;
        0.5 without a leg.
        ``distance``: (close - nearest level) / close; 0 without a leg.
        ``level_236`` to ``level_786``: the levels; the close without a leg.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        for j in range(8):
            out[j, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        follow_swings(state, OWN, left, right, max_age, top, bottom)
        if state[SEEN] < left + right + 1:
            continue
        upper, lower = state[HIGH], state[LOW]
        if lower == 0.0 or upper <= lower:
            out[0, i], out[1, i], out[2, i] = 0.0, 0.5, 0.0
            for j in range(3, 8):
                out[j, i] = price
            continue
        rising = state[HIGH_BAR] >= state[LOW_BAR]
        end, leg = (upper, upper - lower) if rising else (lower, lower - upper)
        out[0, i] = 1.0 if rising else -1.0
        out[1, i] = min(max((end - price) / leg, -BOUND), BOUND)
        out[3, i], out[4, i], out[5, i] = end - 0.236 * leg, end - 0.382 * leg, end - 0.5 * leg
        out[6, i], out[7, i] = end - 0.618 * leg, end - 0.786 * leg
        nearest = price - out[3, i]
        for j in range(4, 8):
            if abs(price - out[j, i]) < abs(nearest):
                nearest = price - out[j, i]
        out[2, i] = nearest / price


SPEC = KernelSpec(
    name="fibonacci_levels",
    kernel=fibonacci_levels,
    inputs=("high", "low", "close"),
    params=(Param("left", 5, 1, 1_000), Param("right", 5, 1, 1_000), Param("max_age", 100, 10, 100_000)),
    outputs=(
        "direction", "retracement", "distance", "level_236", "level_382", "level_500", "level_618", "level_786",
    ),
    state_size=lambda left, right, max_age: OWN + swing_rings_size(left, right),
    lookback=lambda left, right, max_age: left + right + 1,
    warmup=swings_warmup,
    warmup_rtol=0.0,
    unit="sign; legs; fraction of the close; quote currency",
    gap=GAP,
    reference="R. Fischer, Fibonacci Applications and Strategies for Traders, 1993",
)  # fmt: skip
