"""Exponential average of a column. Registered in the catalogue as ``exponential_mean``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, exponential_lag, exponential_warmup
from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def exponential_mean(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the exponential moving average (EMA) of a value, seeded with the mean of the first ``length`` values.

    .. math::

        e_t = e_{t-1} + \tfrac{2}{length + 1} \, (x_t - e_{t-1})

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Values of the seed; also sets the decay.
    state : (3,) array
        Values taken, up to ``length``; their sum, then the average less the newest value; that value.
    out : (1, n) array
        In the unit of the value; NaN before the seed is complete.
    """
    keep = (length - 1.0) / (length + 1.0)
    count, lag, previous = int(state[0]), state[1], state[2]
    for i in range(value.shape[0]):
        sample = value[i]
        if not is_number(sample):
            out[0, i] = math.nan
            continue
        count, lag = exponential_lag(count, lag, length, keep, sample, previous)
        previous = sample
        out[0, i] = sample + lag if count == length else math.nan
    state[0], state[1], state[2] = count, lag, previous


SPEC = KernelSpec(
    name="exponential_mean",
    kernel=exponential_mean,
    inputs=("value",),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 3,
    lookback=lambda length: length,
    warmup=exponential_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="that of the value",
    gap=GAP,
    reference="TA-Lib EMA (seed: simple average of the first length values)",
)
