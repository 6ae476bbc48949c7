"""Kaufman's efficiency ratio of the close. Registered in the catalogue as ``efficiency``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, sum_size
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def efficiency(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance Kaufman's efficiency ratio: the way made over the way gone in the last ``length`` changes.

    .. math::

        E_t = \frac{|c_t - c_{t-length}|}{\sum_{i=0}^{length-1} |c_{t-i} - c_{t-i-1}|}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Changes in the window.
    state : (5 + 2 length,) array
        Slot of the oldest close; close of the bar before (0: none); ring of the ``length`` closes up to it; then as
        ``windowed_sum``.
    out : (1, n) array
        In [0, 1]: 1 is a straight line, 0 no way made, or no price that moved. NaN until ``length`` changes were seen.
    """
    slot, previous = max(0, int(state[0])), state[1]
    closes = state[2 : 2 + length]
    taken, full, prefix = max(0, int(state[2 + length])), state[3 + length], state[4 + length]
    changes = state[5 + length :]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        # The ring's oldest close is the one before the window's first change.
        made = abs(price - closes[slot])
        # Slots fill in order, so that the slot about to be overwritten is the oldest once the ring is full.
        closes[slot] = price
        slot = slot + 1 if slot + 1 < length else 0
        if previous == 0.0:
            previous = price
            out[0, i] = math.nan
            continue
        change = abs(price - previous)
        previous = price
        changes[taken] = change
        taken += 1
        if taken < length:
            prefix += change
            gone = prefix + changes[taken]
        else:
            gone = 0.0
            for j in range(length - 1, -1, -1):
                gone += changes[j]
                changes[j] = gone
            taken, full, prefix = 0, 1.0, 0.0
        if full > 0.0:
            # Of no way gone none was made: 0 and not 0/0. Rounding makes a straight line's ratio exceed 1.
            out[0, i] = min(made / gone, 1.0) if gone > 0.0 else 0.0
        else:
            out[0, i] = math.nan
    state[0], state[1] = slot, previous
    state[2 + length], state[3 + length], state[4 + length] = taken, full, prefix


SPEC = KernelSpec(
    name="efficiency",
    kernel=efficiency,
    inputs=("close",),
    params=(Param("length", 20, 2, 100_000),),
    outputs=("",),
    state_size=lambda length: 2 + length + sum_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="fraction",
    gap=GAP,
    reference="P. J. Kaufman, Smarter Trading, 1995",
)
