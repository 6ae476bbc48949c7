"""Bodies and ranges of the last candles, and their averages, which say what is small or long. It holds no feature."""

from __future__ import annotations

from research.kernel import FloatArray, kernel

NEAR_BARS = 5  # TA-Lib's window for what is near or far; that for what is short is a parameter, 10 by default


@kernel
def remember(ring: FloatArray, slot: int, held: int, value: float) -> None:
    """Put a value into a ring that is kept twice over, so that its last values always lie side by side.

    Before slot ``s`` is written anew, ``ring[s + held - k : s + held]`` are the last ``k`` values, oldest first.
    """
    ring[slot] = value
    ring[slot + held] = value


@kernel
def trailing_mean(ring: FloatArray, stop: int, length: int) -> float:
    """Return the mean of the ``length`` values before ``stop``.

    Always added from the oldest to the newest: bars that are all alike give the same average whenever a run began,
    and a rule that compares with it the same answer.
    """
    total = 0.0
    for j in range(stop - length, stop):
        total += ring[j]
    return total / length
