"""Rolling autocorrelation of log returns at lag one. Registered in the catalogue as ``autocorrelation``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, comoments_size, windowed_comoments
from research.kernel import FloatArray, KernelSpec, Param, kernel

LEAST_DEVIATION = 1e-14  # of a log return: what the rounding of equal ones leaves


@kernel
def autocorrelation(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the autocorrelation of one-bar log returns at lag 1, over the last ``length`` pairs.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Pairs of neighbouring returns in the window.
    state : (10 + 5 length,) array
        Readable bars taken, up to 2; close and log return of the bar before; then as ``windowed_comoments``.
    out : (1, n) array
        Pearson's correlation in [-1, 1]; above 0 moves tend to go on, below 0 to turn back. NaN until ``length``
        pairs were seen, 0 when either side of the pairs does not vary.
    """
    taken, previous, earlier = int(state[0]), state[1], state[2]
    least = length * LEAST_DEVIATION * LEAST_DEVIATION
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = math.nan
        if not is_price(price):
            continue
        if taken > 0:
            current = math.log(price / previous)
            if taken > 1:
                _, _, m2_x, m2_y, product = windowed_comoments(state, 3, length, earlier, current)
                scale = math.sqrt(m2_x) * math.sqrt(m2_y)
                still = m2_x <= least or m2_y <= least  # not NaN, which both are until the window is full
                out[0, i] = 0.0 if still else product / scale
                if out[0, i] > 1.0:
                    out[0, i] = 1.0
                elif out[0, i] < -1.0:
                    out[0, i] = -1.0
            earlier = current
        taken = min(taken + 1, 2)
        previous = price
    state[0], state[1], state[2] = taken, previous, earlier


SPEC = KernelSpec(
    name="autocorrelation",
    kernel=autocorrelation,
    inputs=("close",),
    params=(Param("length", 48, 3, 100_000),),
    outputs=("",),
    state_size=lambda length: 3 + comoments_size(length),
    lookback=lambda length: length + 2,
    warmup=lambda length: length + 2,
    warmup_rtol=WINDOW_RTOL,
    unit="correlation",
    gap=GAP,
    reference="Pearson's correlation; P. Pébay, SAND2008-6212, 2008",
)
