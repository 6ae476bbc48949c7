"""A column as it was some bars ago. Registered in the catalogue as ``lag``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def lag(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the lag: the value of ``length`` readable bars ago.

    .. math::

        y_t = x_{t-length}

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Bars back.
    state : (2 + length,) array
        Values held, up to ``length``; slot of the oldest; ring of the last ``length`` values.
    out : (1, n) array
        In the unit of the value; NaN until there is one so old.
    """
    count, slot = int(state[0]), int(state[1])
    ring = state[2 : 2 + length]
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        if count == length:
            out[0, i] = ring[slot]
        else:
            count += 1
        ring[slot] = sample
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="lag",
    kernel=lag,
    inputs=("value",),
    params=(Param("length", 1, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 2 + length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=0.0,
    unit="that of the value",
    gap=GAP,
    reference="definition",
)
