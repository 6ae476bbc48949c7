"""Wicks through untraded swings, and breakouts that fail. Registered in the catalogue as ``liquidity_sweep``."""

from __future__ import annotations

import math

from research.features.structure.swing_points import OWN, SEEN, follow_swings, swing_rings_size, swings_warmup
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

SLOTS = 32
SWEPT_HIGH_AT, SWEPT_LOW_AT, FAILED_AT = OWN, OWN + 1, OWN + 2
HIGHS = OWN + 3  # number of levels, highest one closed beyond, bar of that, levels, their bars
LOWS = HIGHS + 3 + 2 * SLOTS
RING = LOWS + 3 + 2 * SLOTS


@kernel
def liquidity_sweep(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    bars: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the liquidity sweeps (stop hunts) and failed breakouts of confirmed swings.

    Stops rest beyond swings that no bar has traded beyond since. The first bar to do so takes the level out: it
    sweeps it if it closes back inside and breaks out if not.

    .. math::

        \text{sweep: } h_t > v \ge c_t, \qquad \text{breakout: } c_t > v, \qquad
        \text{failure: } c_{t+k} \le v \text{ first, with } 1 \le k \le bars

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    left : int
        Bars before a swing, all of which it has to exceed: a swing high with its high, a swing low with its low.
    right : int
        Bars after a swing, none of which may exceed it. It is confirmed, and known, that many bars late.
    bars : int
        Bars after a breakout within which it can fail.
    max_age : int
        A swing more bars old than this is dropped, and so is the oldest of more than 32 that are untraded.
    state : (147 + 2 (left + right + 1),) array
        As ``follow_swings``; bars of the newest sweep of highs, of lows, of the newest failure (0: none); of untraded
        swing highs, then of swing lows (with the signs of prices turned round) their number, the level of the last
        breakout and its bar (0: none pending), levels and bars, oldest first.
    out : (6, n) array
        NaN until ``left + right + 1`` bars were seen.

        ``swept_highs``, ``swept_lows``: levels that this bar sweeps; above 1 for equal highs, or several at once.
        ``failed_breakout``: -1 on the bar that closes back below a level broken upwards, 1 back above one broken
        downwards, else 0. Of levels that one bar breaks the farthest counts, and a new breakout replaces the last.
        ``swept_highs_age``, ``swept_lows_age``, ``failed_breakout_age``: bars since the newest; ``max_age`` if it is
        older or there was none.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        for j in range(6):
            out[j, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        peak, trough = follow_swings(state, RING, left, right, max_age, top, bottom)
        seen = state[SEEN]
        oldest = seen - max_age
        if peak > 0.0:
            _keep(state, HIGHS, peak, seen - right)
        if trough > 0.0:
            _keep(state, LOWS, -trough, seen - right)
        swept_highs, failed_up = _take_out(state, HIGHS, seen, oldest, bars, top, price)
        swept_lows, failed_down = _take_out(state, LOWS, seen, oldest, bars, -bottom, -price)
        if swept_highs > 0.0:
            state[SWEPT_HIGH_AT] = seen
        if swept_lows > 0.0:
            state[SWEPT_LOW_AT] = seen
        if failed_up or failed_down:
            state[FAILED_AT] = seen
        if seen < left + right + 1:
            continue
        out[0, i], out[1, i] = swept_highs, swept_lows
        out[2, i] = -1.0 if failed_up else (1.0 if failed_down else 0.0)
        for j in range(3):
            at = state[SWEPT_HIGH_AT + j]
            out[3 + j, i] = min(seen - at, max_age) if at > 0.0 else max_age


@kernel
def _keep(state: FloatArray, register: int, level: float, bar: float) -> None:
    count = int(state[register])
    levels = register + 3
    if count == SLOTS:
        _drop_oldest(state, register, 1)
        count -= 1
    state[levels + count], state[levels + SLOTS + count] = level, bar
    state[register] = count + 1.0


@kernel
def _drop_oldest(state: FloatArray, register: int, dropped: int) -> None:
    levels = register + 3
    count = int(state[register]) - dropped
    for j in range(levels, levels + count):
        state[j], state[j + SLOTS] = state[j + dropped], state[j + SLOTS + dropped]
    state[register] = count


@kernel
def _take_out(
    state: FloatArray, register: int, seen: float, oldest: float, bars: int, high: float, close: float
) -> tuple[float, bool]:
    # Untraded levels fall from the oldest to the newest, or a newer one would have traded beyond an older one.
    levels = register + 3
    expired = 0
    while expired < int(state[register]) and state[levels + SLOTS + expired] < oldest:
        expired += 1
    if expired > 0:
        _drop_oldest(state, register, expired)
    failed = state[register + 2] > 0.0 and close <= state[register + 1]
    if failed or seen - state[register + 2] >= bars:
        state[register + 1], state[register + 2] = 0.0, 0.0
    count = int(state[register])
    swept = 0.0
    while count > 0 and state[levels + count - 1] < high:
        count -= 1
        if close <= state[levels + count]:
            swept += 1.0
        else:
            state[register + 1], state[register + 2] = state[levels + count], seen
    state[register] = count
    return swept, failed


SPEC = KernelSpec(
    name="liquidity_sweep",
    kernel=liquidity_sweep,
    inputs=("high", "low", "close"),
    params=(
        Param("left", 5, 1, 1_000),
        Param("right", 5, 1, 1_000),
        Param("bars", 3, 1, 1_000),
        Param("max_age", 200, 10, 100_000),
    ),
    outputs=(
        "swept_highs",
        "swept_lows",
        "failed_breakout",
        "swept_highs_age",
        "swept_lows_age",
        "failed_breakout_age",
    ),
    state_size=lambda left, right, bars, max_age: RING + swing_rings_size(left, right),
    lookback=lambda left, right, bars, max_age: left + right + 1,
    warmup=lambda left, right, bars, max_age: swings_warmup(left, right, max_age) + max_age + bars - 1,
    warmup_rtol=0.0,
    unit="swings; sign; bars",
    gap=GAP,
    reference="L. A. Connors and L. B. Raschke, Street Smarts, 1995 (Turtle Soup); C. L. Osler, Stop-loss orders and "
    "price cascades in currency markets, Journal of International Money and Finance 24(2), 2005",
)
