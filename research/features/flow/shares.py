"""Shares of flows that stay in their range whatever a row says. It holds no feature."""

from __future__ import annotations

from research.kernel import kernel


@kernel
def share_of(part: float, whole: float) -> float:
    """Return a part of a whole that is not below zero, within [-1, 1]; 0 where the whole is 0."""
    if not whole > 0.0:
        return 0.0
    return min(max(part / whole, -1.0), 1.0)


@kernel
def imbalance_of(plus: float, minus: float) -> float:
    """Return the difference over the sum of two sizes that are not below zero, in [-1, 1]; 0 where both are 0."""
    total = plus + minus
    return (plus - minus) / total if total > 0.0 else 0.0


@kernel
def taker_delta(bought: float, volume: float) -> float:
    """Return what takers bought less what they sold, of a volume of which they bought no more than all of it."""
    return 2.0 * min(bought, volume) - volume
