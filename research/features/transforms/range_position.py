"""Place of a column within the range of its last values. Registered in the catalogue as ``range_position``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.features.window import extremes_size, windowed_extremes
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def range_position(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the range position (min-max scaling): the newest value between least and greatest of ``length``.

    .. math::

        P_t = \frac{x_t - \min_{j < length} x_{t-j}}{\max_{j < length} x_{t-j} - \min_{j < length} x_{t-j}}

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Values in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_extremes``.
    out : (1, n) array
        In [0, 1]: 0 at the least value, 1 at the greatest, 0.5 if all are equal. NaN until the window is full.
    """
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        top, bottom = windowed_extremes(state, 0, length, sample, sample)
        reach = top - bottom
        out[0, i] = 0.5 if reach == 0.0 else (sample - bottom) / reach  # NaN until full: not equal to 0


SPEC = KernelSpec(
    name="range_position",
    kernel=range_position,
    inputs=("value",),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("",),
    state_size=extremes_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=0.0,
    unit="fraction",
    gap=GAP,
    reference="G. C. Lane's %K of a column with itself; Lane's Stochastics, Stocks & Commodities 2(3), 1984",
)
