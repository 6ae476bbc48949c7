"""Whether two columns point the same way. Registered in the catalogue as ``sign_agreement``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def sign_agreement(value: FloatArray, other: FloatArray, state: FloatArray, out: FloatArray) -> None:
    """Write the sign agreement of two columns, an interaction: the product of their signs.

    Parameters
    ----------
    value, other : (n,) array
        Any finite numbers; close and volume unless an entry says ``of``, though signs of changes are meant.
    state : (0,) array
        Nothing is remembered.
    out : (1, n) array
        1 where both are above or both below 0, -1 where one is above and one below, 0 where either is 0.
    """
    for i in range(value.shape[0]):
        out[0, i] = math.nan
        if is_number(value[i]) and is_number(other[i]):
            first = int(value[i] > 0.0) - int(value[i] < 0.0)
            out[0, i] = first * (int(other[i] > 0.0) - int(other[i] < 0.0))


SPEC = KernelSpec(
    name="sign_agreement",
    kernel=sign_agreement,
    inputs=("value", "other"),
    params=(),
    outputs=("",),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="-1, 0 or 1",
    gap=GAP,
    reference="definition",
)
