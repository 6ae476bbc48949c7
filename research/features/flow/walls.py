"""Large resting orders on either side of the book. Registered in the catalogue as ``walls``."""

from __future__ import annotations

import math

from research.features.flow.shares import imbalance_of, share_of
from research.features.validity import GAP, is_volume
from research.kernel import FloatArray, KernelSpec, Param, kernel

MINUTE = 60.0


@kernel
def walls(
    bid_wall_size: FloatArray,
    ask_wall_size: FloatArray,
    bid_wall_distance: FloatArray,
    ask_wall_distance: FloatArray,
    bid_wall_age: FloatArray,
    ask_wall_age: FloatArray,
    bid_depth_20: FloatArray,
    ask_depth_20: FloatArray,
    length: int,
    max_distance: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the order book walls: size, distance, age, persistence and change of the largest one of either side.

    .. math::

        \text{change}_t = \frac{w_t - w_{t-1}}{\max(w_t, w_{t-1})}, \qquad
        \text{asymmetry}_t = \frac{w^{bid}_t - w^{ask}_t}{w^{bid}_t + w^{ask}_t}

    Parameters
    ----------
    bid_wall_size, ask_wall_size : (n,) array
        The largest level that is a wall, base currency; 0: no wall.
    bid_wall_distance, ask_wall_distance : (n,) array
        From the mid price, fraction of it.
    bid_wall_age, ask_wall_age : (n,) array
        Seconds that it has stood.
    bid_depth_20, ask_depth_20 : (n,) array
        Size of the best 20 levels, base currency.
    length : int
        Bars in the window of the persistence, the newest among them.
    max_distance : float
        Distances are cut off here, fraction of the mid price; where there is no wall this is the distance.
    state : (6 + 2 length,) array
        Bars seen, up to ``length``; slot of the oldest; bars with a wall among them, bid and ask; size of the wall on
        the bar before, bid and ask; ring of whether there was one, bid and ask.
    out : (11, n) array
        ``bid_size``, ``ask_size``: wall over the size of the best 20 levels of its side, in [0, 1], 0: no wall.
        ``bid_distance``, ``ask_distance``: in [0, max_distance]. ``bid_age``, ``ask_age``: minutes, 0: no wall.
        ``bid_persistence``, ``ask_persistence``: share of the bars of the window with a wall. ``bid_change``,
        ``ask_change``: in [-1, 1], 1 a new wall, above 0 stacked, below 0 pulled or eaten, -1 gone. ``asymmetry``: in
        [-1, 1], 0 where there is no wall. NaN until ``length`` bars were seen.

    Notes
    -----
    Only the largest wall of each side is followed, and not one order: where another one becomes the largest, size,
    distance and age are from then on that one's, and ``change`` compares the two. Smaller walls are not seen.
    """
    ring = 6
    seen, slot = int(state[0]), int(state[1])
    bid_bars, ask_bars, bid_before, ask_before = state[2], state[3], state[4], state[5]
    for i in range(bid_wall_size.shape[0]):
        bid, ask = bid_wall_size[i], ask_wall_size[i]
        bid_away, ask_away = bid_wall_distance[i], ask_wall_distance[i]
        bid_age, ask_age = bid_wall_age[i], ask_wall_age[i]
        bid_depth, ask_depth = bid_depth_20[i], ask_depth_20[i]
        for k in range(11):
            out[k, i] = math.nan
        if not (
            is_volume(bid)
            and is_volume(ask)
            and is_volume(bid_away)
            and is_volume(ask_away)
            and is_volume(bid_age)
            and is_volume(ask_age)
            and is_volume(bid_depth)
            and is_volume(ask_depth)
        ):
            continue
        at = ring + 2 * slot
        has_bid, has_ask = 1.0 if bid > 0.0 else 0.0, 1.0 if ask > 0.0 else 0.0
        # Counts of bars are whole numbers: adding and taking away leaves no rounding behind.
        bid_bars += has_bid - state[at]
        ask_bars += has_ask - state[at + 1]
        state[at], state[at + 1] = has_bid, has_ask
        slot = slot + 1 if slot + 1 < length else 0
        seen = min(seen + 1, length)
        if seen == length:
            out[0, i] = share_of(bid, bid_depth)
            out[1, i] = share_of(ask, ask_depth)
            out[2, i] = min(bid_away, max_distance) if bid > 0.0 else max_distance
            out[3, i] = min(ask_away, max_distance) if ask > 0.0 else max_distance
            out[4, i] = bid_age / MINUTE if bid > 0.0 else 0.0
            out[5, i] = ask_age / MINUTE if ask > 0.0 else 0.0
            out[6, i] = bid_bars / length
            out[7, i] = ask_bars / length
            out[8, i] = share_of(bid - bid_before, max(bid, bid_before))
            out[9, i] = share_of(ask - ask_before, max(ask, ask_before))
            out[10, i] = imbalance_of(bid, ask)
        bid_before, ask_before = bid, ask
    state[0], state[1] = seen, slot
    state[2], state[3], state[4], state[5] = bid_bars, ask_bars, bid_before, ask_before


SPEC = KernelSpec(
    name="walls",
    kernel=walls,
    inputs=(
        "bid_wall_size",
        "ask_wall_size",
        "bid_wall_distance",
        "ask_wall_distance",
        "bid_wall_age",
        "ask_wall_age",
        "bid_depth_20",
        "ask_depth_20",
    ),
    params=(Param("length", 20, 2, 100_000), Param("max_distance", 0.01, 1e-6, 1.0)),
    outputs=(
        "bid_size",
        "ask_size",
        "bid_distance",
        "ask_distance",
        "bid_age",
        "ask_age",
        "bid_persistence",
        "ask_persistence",
        "bid_change",
        "ask_change",
        "asymmetry",
    ),
    state_size=lambda length, max_distance: 6 + 2 * length,
    lookback=lambda length, max_distance: length,
    warmup=lambda length, max_distance: length,
    warmup_rtol=0.0,
    unit="shares of depth; fractions of the mid price; minutes; fractions of bars; relative changes; share",
    gap=GAP,
    reference="definition",
)
