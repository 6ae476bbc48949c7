"""How long and how high the current trading range is. Registered in the catalogue as ``trading_range``."""

from __future__ import annotations

import math

from research.features.structure.recent_range import mean_range, range_size, take_range
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

RANGES = 2


@kernel
def trading_range(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    factor: float,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the trading range: the longest stretch up to now that was no higher than some mean true ranges.

    .. math::

        D_t = \max \{ n \le max\_age : \max_{i < n} h_{t-i} - \min_{i < n} l_{t-i} \le factor \cdot A_t \}

    with :math:`A` the mean of the last ``length`` true ranges, and at least 1.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    length : int
        True ranges in the mean.
    factor : float
        Height of the range at most, in mean true ranges.
    max_age : int
        Bars in the stretch at most.
    state : (5 + length + 4 max_age,) array
        Bars seen; slot of the next bar; then as ``take_range``; ring of the last highs, twice over so that it
        can be read backwards without a turn; of the last lows.
    out : (5, n) array
        NaN until ``length`` true ranges were seen.

        ``duration``: bars in the stretch, this one included: those since price left the range.
        ``height``: highest high less lowest low of the stretch, in mean true ranges; 0 if nothing moved.
        ``position``: of the close in it, 0 at the low and 1 at the high; 0.5 if nothing moved.
        ``high``, ``low``: its bounds.

    Notes
    -----
    A bar that is higher than the whole range may be is a stretch of its own: ``height`` is then above ``factor``, but
    never above ``length``. The work per bar grows with ``duration``.
    """
    highs = RANGES + 3 + length
    lows = highs + 2 * max_age
    seen, slot = state[0], int(state[1])
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = math.nan, math.nan, math.nan, math.nan, math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        take_range(state, RANGES, length, top, bottom, price)
        state[highs + slot], state[highs + slot + max_age] = top, top
        state[lows + slot], state[lows + slot + max_age] = bottom, bottom
        seen += 1.0
        if seen > length:
            unit = mean_range(state, RANGES, length)
            limit = int(min(seen, max_age))
            duration, top, bottom = _stretch(state, highs + slot + max_age, lows + slot + max_age, limit, factor * unit)
            height = top - bottom
            out[0, i] = duration
            out[1, i] = height / unit if unit > 0.0 else 0.0
            out[2, i] = (price - bottom) / height if height > 0.0 else 0.5
            out[3, i], out[4, i] = top, bottom
        slot = slot + 1 if slot + 1 < max_age else 0
    state[0], state[1] = seen, slot


@kernel
def _stretch(
    state: FloatArray, newest_high: int, newest_low: int, limit: int, allowed: float
) -> tuple[int, float, float]:
    # Four bars at a time while all four fit: four chains of comparisons take the time of one.
    top, bottom, duration = state[newest_high], state[newest_low], 1
    while duration + 4 <= limit:
        h, k = newest_high - duration, newest_low - duration
        upper = max(top, max(max(state[h], state[h - 1]), max(state[h - 2], state[h - 3])))
        lower = min(bottom, min(min(state[k], state[k - 1]), min(state[k - 2], state[k - 3])))
        if upper - lower > allowed:
            break
        top, bottom, duration = upper, lower, duration + 4
    while duration < limit:
        upper, lower = max(top, state[newest_high - duration]), min(bottom, state[newest_low - duration])
        if upper - lower > allowed:
            break
        top, bottom, duration = upper, lower, duration + 1
    return duration, top, bottom


SPEC = KernelSpec(
    name="trading_range",
    kernel=trading_range,
    inputs=("high", "low", "close"),
    params=(Param("length", 14, 1, 1_000), Param("factor", 5.0, 0.1, 1_000.0), Param("max_age", 100, 10, 5_000)),
    outputs=("duration", "height", "position", "high", "low"),
    state_size=lambda length, factor, max_age: RANGES + range_size(length) + 4 * max_age,
    lookback=lambda length, factor, max_age: length + 1,
    warmup=lambda length, factor, max_age: max(length + 1, max_age),
    warmup_rtol=0.0,
    unit="bars; mean true ranges; fraction; quote currency",
    gap=GAP,
    reference="R. D. Edwards and J. Magee, Technical Analysis of Stock Trends, 1948 (rectangles); own definition",
)
