"""Speed of price in quote currency, and its change. Registered in the catalogue as ``move_speed``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def move_speed(close: FloatArray, length: int, target: float, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the velocity and acceleration of the close over ``length`` bars, also in moves of the target size.

    .. math::

        v_t = \frac{c_t - c_{t-length}}{length}, \qquad a_t = v_t - v_{t-length}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars over which a speed is measured.
    target : float
        Size of a move, quote currency.
    state : (2 + 2 length,) array
        Slot of the oldest close; closes seen, up to ``2 length``; ring of the last ``2 length`` closes.
    out : (4, n) array
        ``velocity``, quote currency per bar, and ``acceleration``, its change in ``length`` bars; ``targets``: the move
        over the last ``length`` bars in targets, and ``targets_change``: that less the move over the ``length`` bars
        before. NaN until ``2 length + 1`` closes were seen.
    """
    ring = state[2 : 2 + 2 * length]
    at, seen = int(state[0]), int(state[1])
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
        if not is_price(price):
            continue
        if seen == 2 * length:
            middle = ring[at + length if at < length else at - length]
            move = price - middle
            change = move - (middle - ring[at])
            out[0, i], out[1, i] = move / length, change / length
            out[2, i], out[3, i] = move / target, change / target
        else:
            seen += 1
        ring[at] = price
        at = at + 1 if at + 1 < 2 * length else 0
    state[0], state[1] = at, seen


SPEC = KernelSpec(
    name="move_speed",
    kernel=move_speed,
    inputs=("close",),
    params=(Param("length", 10, 1, 100_000), Param("target", 1.0, 1e-12, 1e12)),
    outputs=("velocity", "acceleration", "targets", "targets_change"),
    state_size=lambda length, target: 2 + 2 * length,
    lookback=lambda length, target: 2 * length + 1,
    warmup=lambda length, target: 2 * length + 1,
    warmup_rtol=0.0,
    unit="quote per bar; moves of the target size",
    gap=GAP,
    reference="definition",
)
