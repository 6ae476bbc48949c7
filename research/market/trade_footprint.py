"""Volumes bought and sold at each price level of one bar: the footprint. It knows neither prices nor time."""

from __future__ import annotations

from research.kernel import kernel

# Levels that one bar holds, a power of two: level number L lies in slot L & MASK, so that the range that is held moves
# with the bar. Beyond it volumes count at the outermost level.
LEVELS = 4_096
MASK = LEVELS - 1


@kernel
def held_level(level, low, high):
    """Return the level at which a volume counts: itself, or the outermost one that still fits beside low and high.

    Parameters
    ----------
    level : int
        Number of the level, at least 0.
    low, high : int
        Lowest and highest level of the bar so far; ``low > high``: none.

    Returns
    -------
    int
        ``level``, or the nearest one that leaves no more than :data:`LEVELS` between the two ends.
    """
    if low <= high:
        if level - low >= LEVELS:
            return low + LEVELS - 1
        if high - level >= LEVELS:
            return high - LEVELS + 1
    return level


@kernel
def read_footprint(low, high, close, factor, bought, sold, found):
    r"""Describe the levels of a bar.

    .. math:: \mathrm{buy}_p: \; B_p > 0 \text{ and } B_p \ge f S_{p-1} \qquad
              \mathrm{sell}_p: \; S_p > 0 \text{ and } S_p \ge f B_{p+1}

    Parameters
    ----------
    low, high, close : int
        Lowest and highest level of the bar, and the level of its last trade.
    factor : float
        f, how far one side outweighs the other.
    bought, sold : (4096,) arrays of float64
        B and S by slot, in base.
    found : (5,) array of float64
        Number of the level with the most volume, bought less sold at the highest and at the lowest level, buy
        imbalances, sell imbalances.

    Notes
    -----
    Of levels with the same volume the one nearest to the close is taken, of two as near the lower. An imbalance
    compares what met across the spread: takers buy at the ask and sell one level below, at the bid. Where nothing was
    sold one level below, any buying outweighs it; the lowest level has none below it in the bar and is no buy
    imbalance, nor is the highest a sell imbalance.
    """
    most, at, away = -1.0, low, 0
    buys, sells = 0, 0
    for level in range(low, high + 1):
        slot = level & MASK
        volume = bought[slot] + sold[slot]
        distance = abs(level - close)
        if volume > most or (volume == most and distance < away):
            most, at, away = volume, level, distance
        if level > low and bought[slot] > 0.0 and bought[slot] >= factor * sold[(level - 1) & MASK]:
            buys += 1
        if level < high and sold[slot] > 0.0 and sold[slot] >= factor * bought[(level + 1) & MASK]:
            sells += 1
    found[0] = at
    found[1] = bought[high & MASK] - sold[high & MASK]
    found[2] = bought[low & MASK] - sold[low & MASK]
    found[3] = buys
    found[4] = sells


@kernel
def clear_levels(low, high, bought, sold):
    """Empty the slots of levels low to high."""
    for level in range(low, high + 1):
        bought[level & MASK] = 0.0
        sold[level & MASK] = 0.0
