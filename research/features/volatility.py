"""Rolling standard deviation of one-bar log returns. Registered in the catalogue as ``volatility``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, moments_size, windowed_moments
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def volatility(close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the sample standard deviation of the last ``length`` one-bar log returns.

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    length : int
        Returns in the window.
    state : (5 + 2 length,) array
        Close of the bar before (0: none); then as ``windowed_moments``.
    out : (1, n) array
        Standard deviation of the log return of one bar (divisor ``length - 1``), not annualised; NaN until
        ``length`` returns were seen, 0 when all are equal.
    """
    previous = state[0]
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = math.nan
        if not is_price(price):
            continue
        if previous > 0.0:
            _, m2 = windowed_moments(state, 1, length, math.log(price / previous))
            out[0, i] = math.sqrt(m2 / (length - 1))
        previous = price
    state[0] = previous


SPEC = KernelSpec(
    name="volatility",
    kernel=volatility,
    inputs=("close",),
    params=(Param("length", 48, 2, 100_000),),
    outputs=("",),
    state_size=lambda length: 1 + moments_size(length),
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="sample standard deviation; B. P. Welford, Technometrics 4(3), 1962",
)
