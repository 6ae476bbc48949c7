"""Change of a context series and its distance from its mean. Registered in the catalogue as ``context_change``."""

from __future__ import annotations

import math

from research.features.transforms.standard_score import standard_score
from research.features.validity import GAP, is_number
from research.features.window import WINDOW_RTOL, moments_size
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def context_change(series: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the change of a context series over ``length`` bars, and its z-score.

    .. math::

        s_t - s_{t-length}, \qquad \frac{s_t - \bar s}{\sigma_s}

    with the mean :math:`\bar s` and the sample standard deviation :math:`\sigma_s` of the last ``length`` values.

    Parameters
    ----------
    series : (n,) array
        Newest value that was available at the close of the bar, in the unit of the series.
    length : int
        Bars between the two values, and bars in the window of the z-score. The default is a day of one minute bars.
    state : (6 + 3 length,) array
        Bars held, up to ``length``; slot of the oldest value; ring of the last ``length``; then as
        ``windowed_moments``.
    out : (2, n) array
        Change in the unit of the series; distance of the value from the mean of the last ``length`` bars in their
        sample standard deviations, 0 if the series stood still. NaN until there are two values so far apart.

    Notes
    -----
    The bars are the sample, not the publications: a value counts as long as it held.
    """
    count, slot = int(state[0]), int(state[1])
    ring = state[2 : 2 + length]
    for i in range(series.shape[0]):
        value = series[i]
        out[0, i] = out[1, i] = math.nan
        if not is_number(value):
            continue
        _, score = standard_score(state, 2 + length, length, value)
        if count < length:
            count += 1
        else:
            out[0, i], out[1, i] = value - ring[slot], score
        ring[slot] = value
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="context_change",
    kernel=context_change,
    inputs=("series",),
    params=(Param("length", 1_440, 2, 100_000),),
    outputs=("change", "zscore"),
    state_size=lambda length: 2 + length + moments_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="that of the series; standard deviations",
    gap=GAP,
    reference="definition; B. P. Welford, Technometrics 4(3), 1962",
)
