"""Rolling mean and standard deviation of a column. Registered in the catalogue as ``rolling_moments``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rolling_moments(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    """Advance the rolling mean and sample standard deviation of the last ``length`` values.

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Values in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (2, n) array
        Mean; standard deviation (divisor ``length - 1``), exactly 0 when all values are equal. In the unit of the
        value, NaN until the window is full.
    """
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = out[1, i] = math.nan
        if not is_number(sample):
            continue
        mean, m2 = windowed_moments(state, 0, length, sample)
        out[0, i] = mean
        out[1, i] = math.sqrt(m2 / (length - 1))


SPEC = KernelSpec(
    name="rolling_moments",
    kernel=rolling_moments,
    inputs=("value",),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("mean", "std"),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="that of the value",
    gap=GAP,
    reference="definition; B. P. Welford, Technometrics 4(3), 1962",
)
