"""Chaikin money flow. Registered in the catalogue as ``cmf``."""

from __future__ import annotations

import math

from research.features.momentum.price_bars import bar_range
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def cmf(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the Chaikin money flow (CMF): volume-weighted place of the close within its bar over ``length`` bars.

    .. math::

        CMF_t = \frac{\sum_{i < length} m_{t-i} \, v_{t-i}}{\sum_{i < length} v_{t-i}}, \qquad
        m_t = \frac{(c_t - l_t) - (h_t - c_t)}{h_t - l_t}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        Bars in the block under way; 1 once a block is complete; the block's sums of flow :math:`m v` and of volume;
        its flows and, from there on, the suffix sums of the block before; the same for volumes.
    out : (1, n) array
        In [-1, 1]: 1 if every bar closed at its high, -1 at its low. A bar without a range counts as closed in its
        middle; 0 where nothing was traded. NaN until the window is full.
    """
    taken, full, flow, volumes = max(0, int(state[0])), state[1], state[2], state[3]
    flows, traded = state[4 : 4 + length], state[4 + length :]
    scale = 1.0 if full > 0.0 else math.nan
    for i in range(close.shape[0]):
        price, weight = close[i], volume[i]
        readable, highest, lowest = bar_range(high[i], low[i], price)
        if not (readable and is_volume(weight)):
            out[0, i] = math.nan
            continue
        span = highest - lowest
        signed = ((price - lowest) - (highest - price)) / span * weight if span > 0.0 else 0.0
        flows[taken] = signed
        traded[taken] = weight
        taken += 1
        if taken < length:
            flow += signed
            volumes += weight
            signed = flow + flows[taken]
            weight = volumes + traded[taken]
        else:
            for j in range(length - 2, -1, -1):
                signed += flows[j]
                weight += traded[j]
                flows[j], traded[j] = signed, weight
            taken, flow, volumes, full, scale = 0, 0.0, 0.0, 1.0, 1.0
        out[0, i] = scale * (signed / weight if weight > 0.0 else 0.0)
    state[0], state[1], state[2], state[3] = taken, full, flow, volumes


SPEC = KernelSpec(
    name="cmf",
    kernel=cmf,
    inputs=("high", "low", "close", "volume"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 4 + 2 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="-1 to 1",
    gap=GAP,
    reference="M. Chaikin, 1980s: money flow, from the terms of his accumulation/distribution line",
)
