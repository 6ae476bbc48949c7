"""Moves of a fixed size completed since midnight. Registered in the catalogue as ``target_moves_today``."""

from __future__ import annotations

import math

from research.features.moves.target_leg import DAY_NS, LEG_SIZE, advance_leg
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

DAY_BARS = 1_440


@kernel
def target_moves_today(
    ts: IntArray, open: FloatArray, close: FloatArray, target: float, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the number of moves of ``target`` that closes have completed since midnight UTC.

    At the first bar of a day a zigzag starts at that bar's open and then follows the closes, turning where one lies
    ``target`` or more back from the furthest close of the leg. A leg from :math:`a` to its furthest close :math:`e`
    has completed

    .. math::

        \left\lfloor \frac{|e - a|}{target} \right\rfloor

    moves in its direction: a rise of 3.4 targets without a fall of a whole one is three moves up.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    open, close : (n,) array
        Quote currency.
    target : float
        Size of a move, quote currency.
    state : (7,) array
        As listed in ``target_leg``.
    out : (3, n) array
        ``up``, ``down``: moves completed since midnight, whole numbers; ``net``: up less down.

    Notes
    -----
    Closes only: whether the high or the low of a bar came first is not known, and with it the order of two moves.
    The day starts anew at midnight, so that a restarted kernel is equal to the bit from there on; a day is
    1,440 bars of one minute, fewer longer ones or more shorter ones. Counted by division: a jump of 1e14 targets
    takes no longer than one.
    """
    today, direction, anchor, extreme, done = state[0], state[1], state[2], state[3], state[4]
    rises, falls = state[5], state[6]
    for i in range(close.shape[0]):
        start, price = open[i], close[i]
        if not (is_price(start) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        day = float(ts[i] // DAY_NS + 1)
        if day != today:
            today, direction, anchor, extreme, done, rises, falls = day, 0.0, start, start, 0.0, 0.0, 0.0
        direction, anchor, extreme, done, up, down = advance_leg(direction, anchor, extreme, done, target, price)
        rises += up
        falls += down
        out[0, i], out[1, i], out[2, i] = rises, falls, rises - falls
    state[0], state[1], state[2], state[3], state[4] = today, direction, anchor, extreme, done
    state[5], state[6] = rises, falls


SPEC = KernelSpec(
    name="target_moves_today",
    kernel=target_moves_today,
    inputs=("ts", "open", "close"),
    params=(Param("target", 1.0, 1e-12, 1e12),),
    outputs=("up", "down", "net"),
    state_size=lambda target: LEG_SIZE,
    lookback=lambda target: 1,
    warmup=lambda target: DAY_BARS,
    warmup_rtol=0.0,
    unit="moves",
    gap=GAP,
    reference="definition; zigzag with a reversal of a fixed amount",
)
