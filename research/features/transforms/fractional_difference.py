"""Fractional difference of a column with a fixed window. Registered in the catalogue as ``fractional_difference``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_number
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def fractional_difference(value: FloatArray, length: int, order: float, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the fractional difference (FFD, fixed-width window) of the last ``length`` values.

    With :math:`d` the ``order``,

    .. math::

        y_t = \sum_{k=0}^{length-1} w_k \, x_{t-k}, \qquad w_0 = 1, \quad w_k = -w_{k-1} \, \frac{d - k + 1}{k}

    Parameters
    ----------
    value : (n,) array
        Any finite number; the close unless an entry says ``of``. Logarithms of prices are the usual choice.
    length : int
        Weights in the sum.
    order : float
        0 is the value itself, 1 its one-bar change; between them the result keeps some of the memory of the level.
    state : (2 + 3 length,) array
        Values held, up to ``length``; slot of the oldest; the weights, the oldest value's first, all zeros before the
        first value; two equal rings of the last ``length`` values, so that the window always lies in one piece.
    out : (1, n) array
        In the unit of the value; NaN until the window is full. The window cuts off the weights' tail: a constant does
        not give 0 but its sum of weights, which falls with ``length`` to the power of ``-order``.

    Notes
    -----
    The window is a number of bars and not a least weight, which is how the reference puts it: the lookback is then
    what was asked for.
    """
    count, slot = int(state[0]), int(state[1])
    weights = state[2 : 2 + length]
    rings = state[2 + length : 2 + 3 * length]
    for i in range(value.shape[0]):
        sample = value[i]
        out[0, i] = math.nan
        if not is_number(sample):
            continue
        if weights[length - 1] == 0.0:
            weights[length - 1] = 1.0
            for k in range(1, length):
                weights[length - 1 - k] = -weights[length - k] * (order - k + 1.0) / k
        rings[slot] = sample
        rings[slot + length] = sample
        slot = slot + 1 if slot + 1 < length else 0
        if count < length:
            count += 1
        if count == length:
            out[0, i] = _weighted_sum(weights, rings[slot : slot + length])
    state[0], state[1] = count, slot


@kernel
def _weighted_sum(weights: FloatArray, window: FloatArray) -> float:
    # Four sums side by side, as an addition waits for the one before it (measured for 100 terms: 33 ns, 52 in one
    # sum). Which terms go into which depends on the length alone.
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    n = window.shape[0]
    first = n % 4
    for j in range(first):
        a += weights[j] * window[j]
    for j in range(first, n, 4):
        a += weights[j] * window[j]
        b += weights[j + 1] * window[j + 1]
        c += weights[j + 2] * window[j + 2]
        d += weights[j + 3] * window[j + 3]
    return (a + b) + (c + d)


SPEC = KernelSpec(
    name="fractional_difference",
    kernel=fractional_difference,
    inputs=("value",),
    params=(Param("length", 100, 2, 5_000), Param("order", 0.4, 0.0, 2.0)),
    outputs=("",),
    state_size=lambda length, order: 2 + 3 * length,
    lookback=lambda length, order: length,
    warmup=lambda length, order: length,
    warmup_rtol=0.0,
    unit="that of the value",
    gap=GAP,
    reference="J. R. M. Hosking, Fractional differencing, Biometrika 68(1), 1981; "
    "M. López de Prado, Advances in Financial Machine Learning, 2018, ch. 5 (fixed-width window)",
)
