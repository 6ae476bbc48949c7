"""Distance of a fast from a slow average in average true ranges. Registered in the catalogue as ``ema_spread``."""

from __future__ import annotations

import math

from research.features.smoothing import (
    RECURSIVE_RTOL,
    exponential_lag,
    exponential_warmup,
    wilder_average,
    wilder_warmup,
)
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

# A true range below a millionth of the price is a market that stands still. The averages may take longer to meet
# than the range takes to vanish, and without a floor their ratio would grow without bound meanwhile.
RANGE_FLOOR_FRAC = 1e-6


@kernel
def ema_spread(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    fast: int,
    slow: int,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the EMA spread (trend strength): fast less slow average of the close, in average true ranges.

    .. math::

        s_t = \frac{ema_{fast,t} - ema_{slow,t}}{\max(atr_{length,t},\; 10^{-6} c_t)}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    fast : int
        Length of the average that the other is taken from; below ``slow`` if above 0 is to mean an uptrend.
    slow : int
        Length of the average that is taken from it.
    length : int
        Length of the average true range (Wilder).
    state : (7,) array
        Close of the bar before (0: none); count and lag of the fast and of the slow
        average, as ``exponential_lag``; count and level of the true range, as ``wilder_average``.
    out : (1, n) array
        Average true ranges, signed; NaN until all three are seeded. 0 as long as no price has moved.

    Notes
    -----
    The averages are those of ``ema`` and ``atr``, each seeded on its own first bars.
    """
    keep_fast, keep_slow = (fast - 1.0) / (fast + 1.0), (slow - 1.0) / (slow + 1.0)
    weight = 1.0 / length
    previous = state[0]
    count_fast, lag_fast = int(state[1]), state[2]
    count_slow, lag_slow = int(state[3]), state[4]
    count_range, level_range = int(state[5]), state[6]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = math.nan
            continue
        count_fast, lag_fast = exponential_lag(count_fast, lag_fast, fast, keep_fast, price, previous)
        count_slow, lag_slow = exponential_lag(count_slow, lag_slow, slow, keep_slow, price, previous)
        if previous > 0.0:
            true_range = max(top, previous) - min(bottom, previous)
            count_range, level_range = wilder_average(count_range, level_range, length, weight, true_range)
        previous = price
        # The close that both averages lag behind cancels.
        value = (lag_fast - lag_slow) / max(level_range, RANGE_FLOOR_FRAC * price)
        ready = count_fast == fast and count_slow == slow and count_range == length
        out[0, i] = value if ready else math.nan
    state[0] = previous
    state[1], state[2] = count_fast, lag_fast
    state[3], state[4] = count_slow, lag_slow
    state[5], state[6] = count_range, level_range


def _warmup(fast: int, slow: int, length: int) -> int:
    return max(exponential_warmup(fast), exponential_warmup(slow), wilder_warmup(length) + 1)


SPEC = KernelSpec(
    name="ema_spread",
    kernel=ema_spread,
    inputs=("high", "low", "close"),
    params=(Param("fast", 12, 1, 100_000), Param("slow", 48, 1, 100_000), Param("length", 14, 1, 100_000)),
    outputs=("",),
    state_size=lambda fast, slow, length: 7,
    lookback=lambda fast, slow, length: max(fast, slow, length + 1),
    warmup=_warmup,
    warmup_rtol=RECURSIVE_RTOL,
    unit="average true ranges",
    gap=GAP,
    reference="the difference of ema and ema over atr; no outside source",
)
