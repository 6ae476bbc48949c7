"""Rolling standard deviation of one-bar log returns. Registered in the catalogue as ``volatility``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.anchored_moments import anchored_size, suffix_sums
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def volatility(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the historical volatility: sample standard deviation of the last ``length`` one-bar log returns.

    .. math::

        \sigma_t = \sqrt{\frac{1}{length - 1} \sum_{i=0}^{length-1} (r_{t-i} - \bar r_t)^2}, \qquad
        r_t = \ln \frac{c_t}{c_{t-1}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    state : (6 + 2 length,) array
        Close of the bar before (0: none); then as ``anchored_moments``, whose steps are written out here.
    out : (1, n) array
        Standard deviation of the log return of one bar (divisor ``length - 1``), not annualised; NaN until
        ``length`` returns were seen, 0 when all are equal.
    """
    previous, taken, full, anchor, total, squares = state[0], int(state[1]), state[2], state[3], state[4], state[5]
    rings = state[6 : 6 + 2 * length]
    share = 1.0 / length
    weight = 1.0 / (length - 1)
    scale = weight if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price = close[i]
        if not is_price(price):
            out[0, i] = math.nan
            continue
        if previous <= 0.0:
            previous = price
            out[0, i] = math.nan
            continue
        change = math.log(price / previous)
        previous = price
        rings[taken] = change
        taken += 1
        if taken < length:
            difference = change - anchor
            total += difference
            squares += difference * difference
            sums, sums2 = total + rings[taken], squares + rings[length + taken]
        else:
            sums, sums2 = suffix_sums(rings, 0, length)
            taken, full, anchor, total, squares, scale = 0, 1.0, change, 0.0, 0.0, weight
        out[0, i] = math.sqrt(max(0.0, sums2 - sums * (sums * share)) * scale)
    state[0], state[1], state[2], state[3], state[4], state[5] = previous, taken, full, anchor, total, squares


SPEC = KernelSpec(
    name="volatility",
    kernel=volatility,
    inputs=("close",),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("",),
    state_size=lambda length: 1 + anchored_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="sample standard deviation",
)
