"""Percentile rank of a column within its last values. Registered in the catalogue as ``rank``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rank(value: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the percentile rank of the newest value among the last ``length``, itself among them.

    .. math::

        R_t = \frac{\#\{x_j < x_t\} + \tfrac{1}{2} \#\{x_j = x_t\}}{length - 1},
        \qquad j = t - length + 1, \ldots, t - 1

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``.
    length : int
        Values in the window, the newest among them.
    state : (2 + length,) array
        Values held, up to ``length``; slot of the oldest; ring of the last ``length`` values.
    out : (1, n) array
        In [0, 1]: 0 below all others, 1 above, 0.5 if all are equal; ties count half. NaN until the window is full.
    """
    count, slot = int(state[0]), int(state[1])
    ring = state[2 : 2 + length]
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        ring[slot] = sample
        slot = slot + 1 if slot + 1 < length else 0
        if count < length:
            count += 1
        if count == length:
            below, above = 0, 0
            for j in range(length):
                below += ring[j] < sample
                above += ring[j] > sample
            # Those that are neither are ties; the newest, tied with itself, does not count.
            out[0, i] = 0.5 + 0.5 * (below - above) / (length - 1)
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="rank",
    kernel=rank,
    inputs=("value",),
    params=(Param("length", 100, 2, 5_000),),
    outputs=("",),
    state_size=lambda length: 2 + length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=0.0,
    unit="fraction",
    gap=GAP,
    reference="M. G. Kendall, The treatment of ties in ranking problems, Biometrika 33(3), 1945: mid-ranks",
)
