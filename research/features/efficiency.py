"""Kaufman's efficiency ratio of the close. Registered in the catalogue as ``efficiency``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def efficiency(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the efficiency ratio: the way made over the way gone in the last ``length`` changes.

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
    slot, previous = int(state[0]), state[1]
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = math.nan
        if not is_price(price):
            continue
        if previous > 0.0:
            gone = windowed_sum(state, 2 + length, length, abs(price - previous))
            # The ring's oldest close is the one before the window's first change.
            made = abs(price - state[2 + slot])
            out[0, i] = 0.0 if gone == 0.0 else made / gone  # NaN until full: not equal to 0
            if out[0, i] > 1.0:
                out[0, i] = 1.0
        previous = price
        # Slots fill in order, so that the slot about to be overwritten is the oldest once the ring is full.
        state[2 + slot] = price
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = slot, previous


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
