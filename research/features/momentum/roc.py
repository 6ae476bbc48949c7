"""Rate of change of the close. Registered in the catalogue as ``roc``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def roc(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the rate of change (ROC): the simple return over ``length`` bars, in percent.

    .. math::

        ROC_t = 100 \left( \frac{c_t}{c_{t-length}} - 1 \right)

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars between the two closes.
    state : (1 + length,) array
        Slot of the oldest close; ring of the last ``length`` closes (0: none).
    out : (1, n) array
        Percent, above -100; NaN for the first ``length`` bars.

    Notes
    -----
    Bars are those that can be read: across a gap the change spans more time, not fewer bars.
    """
    slot = max(0, int(state[0]))
    ring = state[1:]
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        before = ring[slot]
        ring[slot] = price
        slot += 1
        slot = slot if slot < length else 0
        out[0, i] = (price / before - 1.0) * 100.0 if before > 0.0 else math.nan
    state[0] = slot


SPEC = KernelSpec(
    name="roc",
    kernel=roc,
    inputs=("close",),
    params=(Param("length", 10, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 1 + length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=0.0,
    unit="percent",
    gap=GAP,
    reference="definition; TA-Lib ROC",
)
