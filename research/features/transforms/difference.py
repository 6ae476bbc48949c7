"""Change of a column over some bars. Registered in the catalogue as ``difference``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def difference(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the difference (change) of a value over ``length`` readable bars.

    .. math::

        y_t = x_t - x_{t-length}

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Bars between the two values.
    state : (2 + length,) array
        Values held, up to ``length``; slot of the oldest; ring of the last ``length`` values.
    out : (1, n) array
        In the unit of the value; NaN until there are two values so far apart.
    """
    count, slot = int(state[0]), int(state[1])
    ring = state[2 : 2 + length]
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        if count == length:
            out[0, i] = sample - ring[slot]
        else:
            count += 1
        ring[slot] = sample
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="difference",
    kernel=difference,
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
