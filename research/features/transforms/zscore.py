"""Rolling z-score of a column. Registered in the catalogue as ``zscore``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def zscore(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the z-score: a value's distance from the mean of its last ``length``, in standard deviations.

    .. math::

        z_t = \frac{x_t - \bar x}{s_x}, \qquad s_x^2 = \frac{1}{length - 1} \sum_{i < length} (x_{t-i} - \bar x)^2

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Values in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (1, n) array
        Sample standard deviations, within :math:`\pm (length - 1) / \sqrt{length}`; NaN until the window is full, 0
        when all are equal.
    """
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        mean, m2 = windowed_moments(state, 0, length, sample)
        deviation = math.sqrt(m2 / (length - 1))
        out[0, i] = 0.0 if deviation == 0.0 else (sample - mean) / deviation  # NaN until full: not equal to 0


SPEC = KernelSpec(
    name="zscore",
    kernel=zscore,
    inputs=("value",),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("",),
    state_size=moments_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviations",
    gap=GAP,
    reference="definition; B. P. Welford, Technometrics 4(3), 1962",
)
