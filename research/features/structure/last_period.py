"""High, low and close of the last whole period of the clock, shared by pivot points. It holds no feature.

Periods are counted from 1970-01-01 00:00 UTC. The first one seen counts only if its first bar opens as it begins:
before that bar there may have been others. Every later one counts, and the last with a bar is the period before.

The memory is ``state[:PERIOD_SIZE]``: phase (0 nothing seen, 1 in a part of a period, 2 in a period seen from its
beginning), minute at which the period begins, its high, low and close so far; 1 once a whole period is known; its
high, low and close.
"""

from __future__ import annotations

from research.kernel import FloatArray, kernel

MINUTE_NS = 60_000_000_000
LAST_HIGH, LAST_LOW, LAST_CLOSE = 6, 7, 8
PERIOD_SIZE = 9


@kernel
def follow_period(state: FloatArray, ts: int, period_minutes: int, high: float, low: float, close: float) -> bool:
    """Take a bar that opens at ``ts`` and return whether a whole period before its own is known."""
    minute = ts // MINUTE_NS
    begin = int(state[1])
    if state[0] == 0.0 or minute < begin or minute >= begin + period_minutes:
        if state[0] == 2.0:
            state[5] = 1.0
            state[6], state[7], state[8] = state[2], state[3], state[4]
        begin = minute - minute % period_minutes
        state[0] = 2.0 if state[0] > 0.0 or ts == begin * MINUTE_NS else 1.0
        state[1] = begin
        state[2], state[3] = high, low
    else:
        state[2], state[3] = max(state[2], high), min(state[3], low)
    state[4] = close
    return state[5] > 0.0


@kernel
def nearest_distance(out: FloatArray, levels: int, i: int, close: float) -> float:
    """Return (close - level) / close of the nearest of the first ``levels`` outputs of bar ``i``."""
    nearest = close - out[0, i]
    for j in range(1, levels):
        if abs(close - out[j, i]) < abs(nearest):
            nearest = close - out[j, i]
    return nearest / close
