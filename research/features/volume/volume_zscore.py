"""Rolling z-score of log volume. Registered in the catalogue as ``volume_zscore``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def volume_zscore(volume: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the z-score of log volume, ln(1 + volume), within its last ``length`` values.

    Parameters
    ----------
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (1, n) array
        Sample standard deviations; NaN until the window is full, 0 when all volumes are equal (no trade at all,
        for one).

    Notes
    -----
    Not free of the unit: ``log1p`` is near linear for volumes far below one unit of base currency.
    """
    for i in range(volume.shape[0]):
        traded = volume[i]
        out[0, i] = math.nan
        if not is_volume(traded):
            continue
        sample = math.log1p(traded)
        mean, m2 = windowed_moments(state, 0, length, sample)
        deviation = math.sqrt(m2 / (length - 1))
        out[0, i] = 0.0 if deviation == 0.0 else (sample - mean) / deviation  # NaN until full: not equal to 0


SPEC = KernelSpec(
    name="volume_zscore",
    kernel=volume_zscore,
    inputs=("volume",),
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
