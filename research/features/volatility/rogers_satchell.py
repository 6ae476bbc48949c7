"""Rogers and Satchell's volatility of bars that drift. Registered in the catalogue as ``rogers_satchell``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rogers_satchell(
    open: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Rogers-Satchell volatility: from the last ``length`` bars, whatever their drift.

    .. math::

        \sigma_t = \sqrt{\frac{1}{length} \sum_{i=0}^{length-1} v_{t-i}}, \qquad
        v_t = \ln \frac{h_t}{o_t} \ln \frac{h_t}{c_t} + \ln \frac{l_t}{o_t} \ln \frac{l_t}{c_t}

    Parameters
    ----------
    open, high, low, close : (n,) array
        Quote currency. Trusts low <= open, close <= high.
    length : int
        Bars in the window.
    state : (3 + length,) array
        As ``windowed_sum``.
    out : (1, n) array
        Standard deviation of the log return of one bar, not annualised; NaN until the window is full, 0 when every bar
        goes straight from its open to its close.

    Notes
    -----
    Exact with any drift, but blind to what happens between one bar's close and the next one's open.
    """
    for i in range(close.shape[0]):
        first, top, bottom, last = open[i], high[i], low[i], close[i]
        if not (is_price(first) and is_price(top) and is_price(bottom) and is_price(last)):
            out[0, i] = math.nan
            continue
        variance = bar_variance(math.log(top / first), math.log(bottom / first), math.log(last / first))
        out[0, i] = math.sqrt(windowed_sum(state, 0, length, variance) / length)


@kernel
def bar_variance(up: float, down: float, body: float) -> float:
    """Return the variance that one bar tells of, from its high, low and close as log distances from its open."""
    return max(0.0, up * (up - body)) + max(0.0, down * (down - body))


SPEC = KernelSpec(
    name="rogers_satchell",
    kernel=rogers_satchell,
    inputs=("open", "high", "low", "close"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=sum_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="standard deviation of a one-bar log return",
    gap=GAP,
    reference="L. C. G. Rogers, S. E. Satchell, Estimating Variance from High, Low and Closing Prices, "
    "Annals of Applied Probability 1(4), 1991",
)
