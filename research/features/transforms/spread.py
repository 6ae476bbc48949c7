"""Weighted difference of two columns. Registered in the catalogue as ``spread``."""

from __future__ import annotations

import math

from research.features.validity import CEILING, GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def spread(value: FloatArray, other: FloatArray, weight: float, state: FloatArray, out: FloatArray) -> None:
    r"""Write the weighted spread of two columns, an interaction: one less a multiple of the other.

    .. math::

        y_t = value_t - weight \cdot other_t

    Parameters
    ----------
    value, other : (n,) array
        Any finite numbers; close and volume unless an entry says ``of``.
    weight : float
        Of the other column: 1 gives the difference, -1 the sum.
    state : (0,) array
        Nothing is remembered.
    out : (1, n) array
        In the unit of the value, held within 1e150 in size so that another feature can read it.
    """
    for i in range(value.shape[0]):
        out[0, i] = math.nan
        if is_number(value[i]) and is_number(other[i]):
            out[0, i] = min(max(value[i] - weight * other[i], -CEILING), CEILING)


SPEC = KernelSpec(
    name="spread",
    kernel=spread,
    inputs=("value", "other"),
    params=(Param("weight", 1.0, -1e6, 1e6),),
    outputs=("",),
    state_size=lambda weight: 0,
    lookback=lambda weight: 1,
    warmup=lambda weight: 1,
    warmup_rtol=0.0,
    unit="that of the value",
    gap=GAP,
    reference="definition",
)
