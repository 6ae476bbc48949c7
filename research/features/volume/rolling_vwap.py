"""Volume-weighted average price of a rolling window, with bands. Registered in the catalogue as ``rolling_vwap``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.features.volume.vwap_bands import join_weighted, write_bands
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def rolling_vwap(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the rolling VWAP of the last ``length`` bars with bands of one and two standard deviations.

    .. math::

        p = \tfrac{1}{3} (high + low + close), \qquad VWAP = \frac{\sum v p}{\sum v}, \qquad
        \sigma^2 = \frac{\sum v (p - VWAP)^2}{\sum v}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window, the newest among them.
    state : (5 + 3 length,) array
        Bars in the block under way; whether a block is complete; volume, mean and variance of the block under way;
        rings of volumes, means and variances, which hold the bars of the block under way and from there on what the
        block before has from that bar to its end.
    out : (6, n) array
        As ``session_vwap``; NaN until ``length`` bars were seen. In a window without volume the level is the close and
        the deviation 0.

    Notes
    -----
    In blocks, as ``research.features.window`` does it: nothing that leaves the window is subtracted from anything.
    """
    weights, means, variances = 5, 5 + length, 5 + 2 * length
    taken, full = int(state[0]), state[1]
    weight, mean, variance = state[2], state[3], state[4]
    for i in range(close.shape[0]):
        top, bottom, price, traded = high[i], low[i], close[i], volume[i]
        for k in range(6):
            out[k, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price) and is_volume(traded)):
            continue
        typical = (top + bottom + price) / 3.0
        state[weights + taken], state[means + taken] = traded, typical
        weight, mean, variance = join_weighted(weight, mean, variance, traded, typical, 0.0)
        taken += 1
        if taken == length:
            total, level, spread = weight, mean, variance
            weight, mean, variance = 0.0, 0.0, 0.0
            for j in range(length - 1, -1, -1):
                weight, mean, variance = join_weighted(
                    weight, mean, variance, state[weights + j], state[means + j], 0.0
                )
                state[weights + j], state[means + j], state[variances + j] = weight, mean, variance
            weight, mean, variance = 0.0, 0.0, 0.0
            taken, full = 0, 1.0
        elif full > 0.0:
            total, level, spread = join_weighted(
                weight, mean, variance, state[weights + taken], state[means + taken], state[variances + taken]
            )
        else:
            continue
        write_bands(out, i, level if total > 0.0 else price, math.sqrt(spread), price)
    state[0], state[1] = taken, full
    state[2], state[3], state[4] = weight, mean, variance


SPEC = KernelSpec(
    name="rolling_vwap",
    kernel=rolling_vwap,
    inputs=("high", "low", "close", "volume"),
    params=(Param("length", 60, 2, 100_000),),
    outputs=("vwap", "upper_1", "lower_1", "upper_2", "lower_2", "position"),
    state_size=lambda length: 5 + 3 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote; position in standard deviations",
    gap=GAP,
    reference="S. Berkowitz, D. Logue, E. Noser, The Total Cost of Transactions on the NYSE, J. Finance 43, 1988",
)
