"""Rolling z-score of the close. Registered in the catalogue as ``zscore``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def zscore(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the distance of the close from the mean of its last ``length``, in sample standard deviations.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Closes in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_moments``.
    out : (1, n) array
        Within :math:`\pm (length - 1) / \sqrt{length}`; NaN until the window is full, 0 when all closes are equal.
    """
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = math.nan
        if not is_price(price):
            continue
        mean, m2 = windowed_moments(state, 0, length, price)
        deviation = math.sqrt(m2 / (length - 1))
        out[0, i] = 0.0 if deviation == 0.0 else (price - mean) / deviation  # NaN until full: not equal to 0


SPEC = KernelSpec(
    name="zscore",
    kernel=zscore,
    inputs=("close",),
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
