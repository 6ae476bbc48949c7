"""Product of two columns. Registered in the catalogue as ``product``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_number
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def product(value: FloatArray, other: FloatArray, state: FloatArray, out: FloatArray) -> None:
    """Write the product of two columns, an interaction.

    Parameters
    ----------
    value, other : (n,) array
        Any finite numbers; close and volume unless an entry says ``of``.
    state : (0,) array
        Nothing is remembered.
    out : (1, n) array
        In the product of their units, held within 1e150 in size so that another feature can read it.
    """
    for i in range(value.shape[0]):
        out[0, i] = math.nan
        if is_number(value[i]) and is_number(other[i]):
            out[0, i] = min(max(value[i] * other[i], -CEILING), CEILING)


SPEC = KernelSpec(
    name="product",
    kernel=product,
    inputs=("value", "other"),
    params=(),
    outputs=("",),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="that of the value times that of the other",
    gap=GAP,
    reference="definition",
)
