"""The zigzag of one day, in steps of a fixed amount, that features of moves share. It holds no feature."""

from __future__ import annotations

from research.kernel import kernel

DAY_NS = 86_400_000_000_000
# State of a day's zigzag: day + 1 (0: none), direction, anchor, extreme, whole steps of the leg, steps up, steps down.
LEG_SIZE = 7
# A difference of decimal prices falls short of the whole step that it is by some rounding.
STEP_TOLERANCE = 1e-9
# From here on a double has no fraction left to cut off.
WHOLE = 2.0**52


@kernel
def whole_steps(way: float, target: float) -> float:
    """Return how often ``target`` fits into ``way`` (not below zero); a time short by a billionth is counted."""
    steps = way / target + STEP_TOLERANCE
    return float(int(steps)) if steps < WHOLE else steps


@kernel
def advance_leg(
    direction: float, anchor: float, extreme: float, done: float, target: float, price: float
) -> tuple[float, float, float, float, float, float]:
    r"""Advance a zigzag whose legs are at least ``target`` long, and count the whole steps that it completes.

    A leg leads from its anchor to the furthest price since, its extreme. It ends, and the opposite one begins at that
    extreme, when price has come back from it by ``target``.

    Parameters
    ----------
    direction : float
        1: the leg leads up; -1: down; 0: there is none yet.
    anchor, extreme : float
        Where the leg began and its furthest price; without a leg, the lowest and the highest price so far.
    done : float
        Whole steps from anchor to extreme.
    target : float
        Size of a step, above zero.
    price : float
        The newest price.

    Returns
    -------
    direction, anchor, extreme, done : float
        The leg advanced.
    up, down : float
        Steps completed by this price; at most one of them is not 0.
    """
    up, down = 0.0, 0.0
    if direction == 0.0:
        up = whole_steps(max(price - anchor, 0.0), target)
        down = whole_steps(max(extreme - price, 0.0), target)
        if up > 0.0:
            return 1.0, anchor, price, up, up, 0.0
        if down > 0.0:
            return -1.0, extreme, price, down, 0.0, down
        return 0.0, min(anchor, price), max(extreme, price), 0.0, 0.0, 0.0
    beyond = direction * (price - extreme)
    steps = 0.0
    if beyond > 0.0:
        extreme = price
        total = whole_steps(direction * (extreme - anchor), target)
        steps = total - done
        done = total
    elif beyond < 0.0:
        back = whole_steps(-beyond, target)
        if back > 0.0:
            direction, anchor, extreme, done, steps = -direction, extreme, price, back, back
    if direction > 0.0:
        up = steps
    else:
        down = steps
    return direction, anchor, extreme, done, up, down
