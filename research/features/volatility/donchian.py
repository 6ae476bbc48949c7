"""Donchian's channel of the highest high and the lowest low. Registered in the catalogue as ``donchian``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.window import extremes_size, windowed_extremes
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def donchian(
    high: FloatArray, low: FloatArray, close: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the Donchian channel: highest high and lowest low of ``length`` bars, and the place of the close.

    .. math::

        u_t = \max_{0 \le i < length} h_{t-i}, \qquad l_t = \min_{0 \le i < length} l_{t-i}, \qquad
        p_t = \frac{c_t - l_t}{u_t - l_t}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Bars in the window.
    state : (4 + 2 length,) array
        As ``windowed_extremes``.
    out : (4, n) array
        Upper, lower and middle (half way) of the channel, in quote currency; position of the close in it, 0 at the
        lower and 1 at the upper end, 0.5 when the channel has no height. NaN until the window is full.

    Notes
    -----
    A breakout rule compares with the channel of the bars before, that is with last bar's answer: the newest bar
    cannot leave a channel that it is part of.
    """
    for i in range(close.shape[0]):
        high_i, low_i, price = high[i], low[i], close[i]
        if not (is_price(high_i) and is_price(low_i) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        upper, lower = windowed_extremes(state, 0, length, high_i, low_i)
        out[0, i] = upper
        out[1, i] = lower
        out[2, i] = lower + 0.5 * (upper - lower)
        out[3, i] = 0.5 if upper == lower else (price - lower) / (upper - lower)  # NaN until full: not equal


SPEC = KernelSpec(
    name="donchian",
    kernel=donchian,
    inputs=("high", "low", "close"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("upper", "lower", "middle", "position"),
    state_size=extremes_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=0.0,
    unit="quote; position: fraction",
    gap=GAP,
    reference="R. Donchian's four-week rule; C. Faith, Way of the Turtle, 2007",
)
