"""Change of on-balance volume over the volume traded. Registered in the catalogue as ``obv_change``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def obv_change(close: FloatArray, volume: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the change of on-balance volume (OBV) over ``length`` bars, as a share of the volume of those bars.

    .. math::

        \frac{OBV_t - OBV_{t-length}}{\sum_{i < length} v_{t-i}}
        = \frac{\sum_{i < length} \operatorname{sgn}(c_{t-i} - c_{t-i-1}) \, v_{t-i}}{\sum_{i < length} v_{t-i}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window, the newest among them.
    state : (5 + 2 length,) array
        Close of the bar before (0: none); bars in the block under way; whether a block is complete; sums of signed
        volume and of volume in the block under way; a ring of each.
    out : (1, n) array
        In [-1, 1]: 1 where every bar with volume closed higher than the one before. NaN until ``length`` changes were
        seen, 0 where nothing was traded.

    Notes
    -----
    The window is summed in blocks, as in ``research.features.window``. Both sums round in the same order, so that the
    share cannot leave its range.
    """
    signed_ring, ring = 5, 5 + length
    previous, taken, full, signed_sum, volume_sum = state[0], int(state[1]), state[2], state[3], state[4]
    for i in range(close.shape[0]):
        price, traded = close[i], volume[i]
        out[0, i] = math.nan
        if not (is_price(price) and is_volume(traded)):
            continue
        if previous > 0.0:
            rose, fell = 1.0 if price > previous else 0.0, 1.0 if price < previous else 0.0
            signed = (rose - fell) * traded
            state[signed_ring + taken], state[ring + taken] = signed, traded
            signed_sum += signed
            volume_sum += traded
            taken += 1
            if taken == length:
                signed_sum, volume_sum = 0.0, 0.0
                for j in range(length - 1, -1, -1):
                    signed_sum += state[signed_ring + j]
                    volume_sum += state[ring + j]
                    state[signed_ring + j], state[ring + j] = signed_sum, volume_sum
                out[0, i] = signed_sum / volume_sum if volume_sum > 0.0 else 0.0
                signed_sum, volume_sum = 0.0, 0.0
                taken, full = 0, 1.0
            elif full > 0.0:
                total = volume_sum + state[ring + taken]
                out[0, i] = (signed_sum + state[signed_ring + taken]) / total if total > 0.0 else 0.0
        previous = price
    state[0], state[1], state[2], state[3], state[4] = previous, taken, full, signed_sum, volume_sum


SPEC = KernelSpec(
    name="obv_change",
    kernel=obv_change,
    inputs=("close", "volume"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 5 + 2 * length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=WINDOW_RTOL,
    unit="share of volume",
    gap=GAP,
    reference="J. E. Granville, Granville's New Key to Stock Market Profits, 1963",
)
