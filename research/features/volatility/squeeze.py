"""Bollinger's bands inside Keltner's channel: a market that coils. Registered in the catalogue as ``squeeze``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.features.volatility.anchored_moments import anchored_moments, anchored_size
from research.features.volatility.windowed_line import line_size, windowed_line_end
from research.features.window import WINDOW_RTOL, extremes_size, sum_size, windowed_extremes, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel

TIE = 1e-9  # fraction of the channel's reach by which the bands have to be inside it
LEAST_RANGE = 1e-6  # fraction of the close: where a market stands still, a momentum has to be measured by something


@kernel
def squeeze(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    length: int,
    factor: float,
    channel_length: int,
    channel_factor: float,
    max_bars: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the TTM squeeze: Bollinger bands inside the Keltner channel, for how long, and its momentum.

    .. math::

        \mathrm{on}_t \iff f \sigma_t + |m_t - m'_t| < f' r_t, \qquad
        d_t = c_t - \tfrac{1}{2} \left( \tfrac{1}{2} (H_t + L_t) + m'_t \right)

    with :math:`m, \sigma` the mean and population deviation of the last ``length`` closes, and over the last
    ``channel_length`` bars :math:`m'` the mean close, :math:`r` the mean true range, :math:`H` and :math:`L` the
    highest high and the lowest low. The momentum is the least-squares line through the last ``channel_length`` values
    of :math:`d`, at the newest.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency. Trusts low <= close <= high.
    length : int
        Closes of the bands.
    factor : float
        Standard deviations from the middle to either band.
    channel_length : int
        Bars of the channel and of the momentum.
    channel_factor : float
        Mean true ranges from the middle to either side of the channel.
    max_bars : int
        The count of bars stops here.
    state : array
        Close of the bar before (0: none); bars in the squeeze; true ranges taken, up to ``channel_length``; then
        ``anchored_moments`` of the bands, ``windowed_sum`` of true ranges, ``windowed_extremes`` and
        ``windowed_line_end`` of the channel, and ``anchored_moments`` of the channel, unused if the lengths are equal.
    out : (4, n) array
        On: 1 if both bands are inside the channel, else 0; bars of the squeeze so far, 0 when it is off, at most
        ``max_bars``; momentum, quote currency; strength, the momentum in mean true ranges (of at least a millionth of
        the close). All 0 where no price has moved; NaN until every window is full.

    Notes
    -----
    Keltner's channel is taken with simple averages, as the indicator commonly is: everything is forgotten with its
    window, and a cold start gives the same flags. On a coarse price grid band and channel may coincide; the bands then
    count as outside, whichever way the last digit was rounded.
    """
    ranges_at = 3 + 5 + 2 * length
    extremes_at = ranges_at + 3 + channel_length
    line_at = extremes_at + 4 + 2 * channel_length
    channel_at = line_at + 4 + 2 * channel_length
    previous, bars, taken = state[0], int(state[1]), int(state[2])
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        mean, m2 = anchored_moments(state, 3, length, price)
        middle = mean
        if channel_length != length:
            middle, _ = anchored_moments(state, channel_at, channel_length, price)
        highest, lowest = windowed_extremes(state, extremes_at, channel_length, top, bottom)
        mean_range = math.nan
        if previous > 0.0:
            true_range = max(top, previous) - min(bottom, previous)
            mean_range = windowed_sum(state, ranges_at, channel_length, true_range) / channel_length
        previous = price
        momentum = math.nan
        if taken < channel_length:
            taken += 1
        if taken == channel_length:
            typical = 0.5 * (0.5 * (highest + lowest) + middle)
            momentum = windowed_line_end(state, line_at, channel_length, price - typical)
        # Not comparable with NaN: off until both windows are full.
        on = factor * math.sqrt(m2 / length) + abs(mean - middle) < channel_factor * mean_range * (1.0 - TIE)
        bars = min(bars + 1, max_bars) if on else 0
        if math.isnan(mean + mean_range + momentum):
            out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
            continue
        out[0, i] = 1.0 if on else 0.0
        out[1, i] = bars
        out[2, i] = momentum
        out[3, i] = momentum / max(mean_range, LEAST_RANGE * price)
    state[0], state[1], state[2] = previous, bars, taken


def _state_size(length: int, factor: float, channel_length: int, channel_factor: float, max_bars: int) -> int:
    channel = sum_size(channel_length) + extremes_size(channel_length) + line_size(channel_length)
    return 3 + anchored_size(length) + channel + anchored_size(channel_length)


def _lookback(length: int, factor: float, channel_length: int, channel_factor: float, max_bars: int) -> int:
    return max(length, channel_length + 1, 2 * channel_length - 1)


def _warmup(length: int, factor: float, channel_length: int, channel_factor: float, max_bars: int) -> int:
    counted = max(length, channel_length + 1) + max_bars - 1  # a count that stopped says nothing of what was before
    return max(_lookback(length, factor, channel_length, channel_factor, max_bars), counted)


SPEC = KernelSpec(
    name="squeeze",
    kernel=squeeze,
    inputs=("high", "low", "close"),
    params=(
        Param("length", 20, 2, 100_000),
        Param("factor", 2.0, 0.1, 10.0),
        Param("channel_length", 20, 2, 100_000),
        Param("channel_factor", 1.5, 0.1, 10.0),
        Param("max_bars", 50, 1, 10_000),
    ),
    outputs=("on", "bars", "momentum", "strength"),
    state_size=_state_size,
    lookback=_lookback,
    warmup=_warmup,
    warmup_rtol=WINDOW_RTOL,
    unit="on: 0 or 1; bars: bars; momentum: quote; strength: mean true ranges",
    gap=GAP,
    reference="J. F. Carter, Mastering the Trade, 2005: the squeeze of the TTM indicators",
)
