"""True range of each bar. Registered in the catalogue as ``true_range``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.readable_blocks import BLOCK, all_prices
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def true_range(high: FloatArray, low: FloatArray, close: FloatArray, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the true range (TR): the bar's range together with the way from the close before it.

    .. math::

        TR_t = \max(h_t, c_{t-1}) - \min(l_t, c_{t-1})

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    state : (1,) array
        Close of the bar before (0: none).
    out : (1, n) array
        Quote currency, not below zero; NaN on the first bar, which has no close before it.
    """
    previous = state[0]
    row = out[0]
    for start in range(0, close.shape[0], BLOCK):
        highs, lows, closes = high[start : start + BLOCK], low[start : start + BLOCK], close[start : start + BLOCK]
        ranges = row[start : start + BLOCK]
        n = closes.shape[0]
        if previous > 0.0 and all_prices(highs, lows, closes):
            ranges[0] = max(highs[0], previous) - min(lows[0], previous)
            _differences(highs[1:], lows[1:], closes[: n - 1], ranges[1:])
            previous = closes[n - 1]
            continue
        for i in range(n):
            if not (is_price(highs[i]) and is_price(lows[i]) and is_price(closes[i])):
                ranges[i] = math.nan
                continue
            ranges[i] = max(highs[i], previous) - min(lows[i], previous) if previous > 0.0 else math.nan
            previous = closes[i]
    state[0] = previous


@kernel
def _differences(high: FloatArray, low: FloatArray, before: FloatArray, ranges: FloatArray) -> None:
    for i in range(before.shape[0]):
        ranges[i] = max(high[i], before[i]) - min(low[i], before[i])


SPEC = KernelSpec(
    name="true_range",
    kernel=true_range,
    inputs=("high", "low", "close"),
    params=(),
    outputs=("",),
    state_size=lambda: 1,
    lookback=lambda: 2,
    warmup=lambda: 2,
    warmup_rtol=0.0,
    unit="quote",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib TRANGE",
)
