"""Wilder's directional movement: how strong a trend is, and which way. Registered in the catalogue as ``adx``."""

from __future__ import annotations

import math

from research.features.smoothing import RECURSIVE_RTOL, wilder_average
from research.features.trend.cascade import bars_to_forget_through
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

# A sum of ranges this small is what is left of them after thousands of bars without any.
LEAST_RANGE = 1e-300


@kernel
def adx(high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the ADX (average directional index) with +DI and -DI.

    .. math::

        DI^\pm_t = 100 \, \frac{S(DM^\pm)_t}{S(TR)_t}, \qquad
        DX_t = 100 \, \frac{|DI^+_t - DI^-_t|}{DI^+_t + DI^-_t}, \qquad
        ADX_t = ADX_{t-1} + \tfrac{1}{length} \, (DX_t - ADX_{t-1})

    with :math:`S_t = (1 - 1 / length) \, S_{t-1} + x_t`. :math:`DM^+` is the rise of the high, if it exceeds both 0 and
    the fall of the low, :math:`DM^-` the fall of the low, if it exceeds both 0 and the rise of the high; :math:`TR` is
    the true range as in ``atr``.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Bars of the seeds; also sets the decay.
    state : (9,) array
        Changes taken, up to ``length``; sums of :math:`DM^+`, :math:`DM^-` and :math:`TR`; count and level of the
        average of :math:`DX`, as ``wilder_average``; high, low and close of the bar before (0: none).
    out : (3, n) array
        Average directional index and the two directional indicators, in [0, 100]; NaN until the index is seeded. An
        indicator is 0 where no bar has had a range, and :math:`DX` where none has had a direction.

    Notes
    -----
    The seeds are TA-Lib's: plain sums of the first ``length - 1`` changes, and the mean of the ``length`` first
    :math:`DX`. Both indicators are then those of TA-Lib's PLUS_DI and MINUS_DI to the bar, which however answer
    ``length - 1`` bars before the index does. TA-Lib takes a sum below 1e-14 for zero; here only an exact zero is one.
    """
    weight = 1.0 / length
    keep = 1.0 - weight
    seen, rise, fall, span = int(state[0]), state[1], state[2], state[3]
    count, level = int(state[4]), state[5]
    top_before, bottom_before, previous = state[6], state[7], state[8]
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        if previous > 0.0:
            up, down = top - top_before, bottom_before - bottom
            kept = keep if seen >= length - 1 else 1.0
            rise = kept * rise + (up if up > max(down, 0.0) else 0.0)
            fall = kept * fall + (down if down > max(up, 0.0) else 0.0)
            span = kept * span + (max(top, previous) - min(bottom, previous))
            if seen < length:
                seen += 1
            if seen == length:
                moved = rise + fall
                skew = 100.0 * (abs(rise - fall) / moved) if moved > 0.0 else 0.0
                count, level = wilder_average(count, level, length, weight, skew)
        top_before, bottom_before, previous = top, bottom, price
        if count == length:
            scale = 100.0 / span if span > LEAST_RANGE else 0.0
            out[0, i], out[1, i], out[2, i] = level, scale * rise, scale * fall
        else:
            out[0, i] = out[1, i] = out[2, i] = math.nan
    state[0], state[1], state[2], state[3] = seen, rise, fall, span
    state[4], state[5] = count, level
    state[6], state[7], state[8] = top_before, bottom_before, previous


SPEC = KernelSpec(
    name="adx",
    kernel=adx,
    inputs=("high", "low", "close"),
    params=(Param("length", 14, 2, 100_000),),
    outputs=("adx", "plus_di", "minus_di"),
    state_size=lambda length: 9,
    lookback=lambda length: 2 * length,
    warmup=lambda length: 2 * length + bars_to_forget_through((length - 1) / length, 2),
    warmup_rtol=RECURSIVE_RTOL,
    unit="0 to 100",
    gap=GAP,
    reference="J. W. Wilder, New Concepts in Technical Trading Systems, 1978; TA-Lib ADX, PLUS_DI and MINUS_DI",
)
