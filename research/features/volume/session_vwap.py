"""Volume-weighted average price of the session, with bands. Registered in the catalogue as ``session_vwap``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.features.volume.vwap_bands import join_weighted, write_bands
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
DAY_BARS = 1_440


@kernel
def session_vwap(
    ts: IntArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    start_hour: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the VWAP of the session with bands of one and two standard deviations.

    .. math::

        p = \tfrac{1}{3} (high + low + close), \qquad VWAP = \frac{\sum v p}{\sum v}, \qquad
        \sigma^2 = \frac{\sum v (p - VWAP)^2}{\sum v}

    over the bars of the session so far, the newest among them.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    start_hour : int
        Hour of the UTC day at which a session begins; it lasts until that hour of the next day.
    state : (4,) array
        Number of the session's day; volume so far; mean; variance.
    out : (6, n) array
        VWAP, and VWAP plus and minus one and two deviations, quote currency (a lower band may lie below zero);
        ``position``: close less VWAP in deviations, 0 where the deviation is 0. While nothing has been traded in the
        session the level is the close and the deviation 0.

    Notes
    -----
    Everything starts anew with the first bar of a session, so that a restarted kernel is equal to the bit from there
    on. The warm-up is a day of bars of one minute; of longer bars fewer would do, of shorter ones it takes more.
    """
    day, weight, mean, variance = state[0], state[1], state[2], state[3]
    for i in range(close.shape[0]):
        top, bottom, price, traded = high[i], low[i], close[i], volume[i]
        if not (is_price(top) and is_price(bottom) and is_price(price) and is_volume(traded)):
            for k in range(6):
                out[k, i] = math.nan
            continue
        today = float((ts[i] - start_hour * HOUR_NS) // DAY_NS)
        if today != day:
            day, weight, mean, variance = today, 0.0, 0.0, 0.0
        weight, mean, variance = join_weighted(weight, mean, variance, traded, (top + bottom + price) / 3.0, 0.0)
        write_bands(out, i, mean if weight > 0.0 else price, math.sqrt(variance), price)
    state[0], state[1], state[2], state[3] = day, weight, mean, variance


SPEC = KernelSpec(
    name="session_vwap",
    kernel=session_vwap,
    inputs=("ts", "high", "low", "close", "volume"),
    params=(Param("start_hour", 0, 0, 23),),
    outputs=("vwap", "upper_1", "lower_1", "upper_2", "lower_2", "position"),
    state_size=lambda start_hour: 4,
    lookback=lambda start_hour: 1,
    warmup=lambda start_hour: DAY_BARS,
    warmup_rtol=0.0,
    unit="quote; position in standard deviations",
    gap=GAP,
    reference="S. Berkowitz, D. Logue, E. Noser, The Total Cost of Transactions on the NYSE, J. Finance 43, 1988",
)
