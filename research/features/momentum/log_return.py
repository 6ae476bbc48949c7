"""Log return of the close over some bars. Registered in the catalogue as ``log_return``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def log_return(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the log return of the close over ``length`` bars.

    .. math::

        r_t = \ln \frac{c_t}{c_{t-length}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Bars between the two closes.
    state : (1 + length,) array
        Slot of the oldest close; ring of the last ``length`` closes (0: none).
    out : (1, n) array
        Natural logarithm of a ratio; NaN for the first ``length`` bars.

    Notes
    -----
    Bars are those that can be read: across a gap the return spans more time, not fewer bars.
    """
    slot = int(state[0])
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        before = state[1 + slot]
        state[1 + slot] = price
        slot = slot + 1 if slot + 1 < length else 0
        out[0, i] = math.log(price / before) if before > 0.0 else math.nan
    state[0] = slot


SPEC = KernelSpec(
    name="log_return",
    kernel=log_return,
    inputs=("close",),
    params=(Param("length", 1, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 1 + length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=0.0,
    unit="log return",
    gap=GAP,
    reference="definition",
)
