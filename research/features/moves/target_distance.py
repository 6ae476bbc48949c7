"""Way left to the next completed move of a fixed size. Registered in the catalogue as ``target_distance``."""

from __future__ import annotations

import math

from research.features.moves.target_leg import DAY_NS, LEG_SIZE, advance_leg
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

DAY_BARS = 1_440


@kernel
def target_distance(
    ts: IntArray, open: FloatArray, close: FloatArray, target: float, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the distances from the close to where the next move of ``target`` up and down would be complete.

    With the zigzag of ``target_moves_today``, which starts at the day's open, a leg up from :math:`a` to its furthest
    close :math:`e` with :math:`m` whole moves done goes on and turns at

    .. math::

        u = a + (m + 1) \, target, \qquad d = e - target

    and a leg down at :math:`d = a - (m + 1) \, target` and :math:`u = e + target`. Before the day's first leg these
    are the lowest price of the day plus, and the highest one less, ``target``.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    open, close : (n,) array
        Quote currency.
    target : float
        Size of a move, quote currency.
    state : (7,) array
        As listed in ``target_leg``; the last two are not used.
    out : (4, n) array
        ``up``, ``down``: :math:`u` less close and close less :math:`d`, quote currency, in [0, 2 target]: the one that
        turns the leg at most ``target``. ``position``: down / (up + down), in [0, 1], 1 where the move up is about to
        be complete; 0.5 if both are 0, which only the rounding of a price above 1e15 targets makes them. ``leg``: size
        of the leg from anchor to extreme in targets, above 0 up, below 0 down, 0 before the day's first.

    Notes
    -----
    Closes only, and a day of 1,440 bars at most, as with ``target_moves_today``.
    """
    today, direction, anchor, extreme, done = state[0], state[1], state[2], state[3], state[4]
    widest = 2.0 * target
    for i in range(close.shape[0]):
        start, price = open[i], close[i]
        if not (is_price(start) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        day = float(ts[i] // DAY_NS + 1)
        if day != today:
            today, direction, anchor, extreme, done = day, 0.0, start, start, 0.0
        direction, anchor, extreme, done, _, _ = advance_leg(direction, anchor, extreme, done, target, price)
        if direction == 0.0:
            up, down, leg = anchor - price + target, price - extreme + target, 0.0
        else:
            # Differences of prices first: they are exact where a price plus a small target is not.
            onward = direction * (anchor - price) + (done + 1.0) * target
            back = direction * (price - extreme) + target
            up, down = (onward, back) if direction > 0.0 else (back, onward)
            leg = (extreme - anchor) / target
        up, down = min(max(up, 0.0), widest), min(max(down, 0.0), widest)
        whole = up + down
        out[0, i], out[1, i], out[3, i] = up, down, leg
        out[2, i] = down / whole if whole > 0.0 else 0.5
    state[0], state[1], state[2], state[3], state[4] = today, direction, anchor, extreme, done


SPEC = KernelSpec(
    name="target_distance",
    kernel=target_distance,
    inputs=("ts", "open", "close"),
    params=(Param("target", 1.0, 1e-12, 1e12),),
    outputs=("up", "down", "position", "leg"),
    state_size=lambda target: LEG_SIZE,
    lookback=lambda target: 1,
    warmup=lambda target: DAY_BARS,
    warmup_rtol=0.0,
    unit="quote; position and leg: 1",
    gap=GAP,
    reference="definition; zigzag with a reversal of a fixed amount",
)
