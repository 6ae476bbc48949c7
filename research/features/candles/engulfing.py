"""A body that engulfs the body before it. Registered in the catalogue as ``engulfing``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def engulfing(open: FloatArray, close: FloatArray, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the engulfing pattern, bullish and bearish: a body that covers the one before it.

    A bar that rose engulfs one that fell when its body covers the other's and goes beyond at one end at least:

    .. math::

        c_t \ge o_t, \quad c_{t-1} < o_{t-1}, \quad c_t \ge o_{t-1}, \quad o_t \le c_{t-1}, \quad
        \text{not both with equality}

    and the other way round with all signs turned, where the bar before need only not have fallen.

    Parameters
    ----------
    open, close : (n,) array
        Quote currency.
    state : (2,) array
        Open and close of the bar before (0: none).
    out : (1, n) array
        1 bullish, -1 bearish, 0 neither; NaN on the first bar.

    Notes
    -----
    The rule of TA-Lib's CDLENGULFING, which answers 80 where one end is equal and 100 elsewhere: in a market that never
    closes a bar opens where the one before closed, and nearly all are of the first kind. Here both are 1. Wicks and
    the trend before it are not looked at.
    """
    before_open, before_close = state[0], state[1]
    for i in range(close.shape[0]):
        first, last = open[i], close[i]
        if not (is_price(first) and is_price(last)):
            out[0, i] = math.nan
            continue
        value = math.nan
        if before_open > 0.0:
            bullish = (last >= first) & (before_close < before_open)
            bullish &= (last >= before_open) & (first <= before_close)
            bullish &= (last > before_open) | (first < before_close)
            bearish = (last < first) & (before_close >= before_open)
            bearish &= (first >= before_close) & (last <= before_open)
            bearish &= (first > before_close) | (last < before_open)
            value = 1.0 if bullish else -1.0 if bearish else 0.0
        out[0, i] = value
        before_open, before_close = first, last
    state[0], state[1] = before_open, before_close


SPEC = KernelSpec(
    name="engulfing",
    kernel=engulfing,
    inputs=("open", "close"),
    params=(),
    outputs=("",),
    state_size=lambda: 2,
    lookback=lambda: 2,
    warmup=lambda: 2,
    warmup_rtol=0.0,
    unit="-1, 0 or 1",
    gap=GAP,
    reference="S. Nison, Japanese Candlestick Charting Techniques, 1991; TA-Lib CDLENGULFING",
)
