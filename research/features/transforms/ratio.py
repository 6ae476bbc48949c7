"""Ratio of two columns. Registered in the catalogue as ``ratio``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_number
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def ratio(value: FloatArray, other: FloatArray, state: FloatArray, out: FloatArray) -> None:
    """Write the ratio of two columns, an interaction.

    Parameters
    ----------
    value, other : (n,) array
        Any finite numbers; close and volume unless an entry says ``of``.
    state : (0,) array
        Nothing is remembered.
    out : (1, n) array
        In the unit of the value per that of the other, 0 where the other is 0. Held within 1e150 in size so that
        another feature can read it.
    """
    for i in range(value.shape[0]):
        out[0, i] = math.nan
        if is_number(value[i]) and is_number(other[i]):
            out[0, i] = 0.0 if other[i] == 0.0 else min(max(value[i] / other[i], -CEILING), CEILING)


SPEC = KernelSpec(
    name="ratio",
    kernel=ratio,
    inputs=("value", "other"),
    params=(),
    outputs=("",),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="that of the value per that of the other",
    gap=GAP,
    reference="definition",
)
