"""Volume-weighted moving average of the close. Registered in the catalogue as ``vwma``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def vwma(close: FloatArray, volume: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the volume-weighted moving average (VWMA) of the last ``length`` closes.

    .. math::

        m_t = \frac{\sum_{i=0}^{length-1} v_{t-i} \, c_{t-i}}{\sum_{i=0}^{length-1} v_{t-i}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window.
    state : (6 + 3 length,) array
        Bars in the block under way; 1 once a block is complete; the anchor; the block's sums of closes less anchor, of
        volumes and of their products; closes and volumes of the block and, in the places that it has not reached, the
        suffix sums of the first two of the block before; the suffix sums of the third.
    out : (1, n) array
        Quote currency; NaN until the window is full. The plain mean where nothing was traded in the whole window.

    Notes
    -----
    Blocks and anchor are those of ``sma``.
    """
    taken, full, anchor = max(0, int(state[0])), state[1], state[2]
    plain, traded, moved = state[3], state[4], state[5]
    closes, volumes, moves = state[6 : 6 + length], state[6 + length : 6 + 2 * length], state[6 + 2 * length :]
    for i in range(close.shape[0]):
        price, size = close[i], volume[i]
        if not (is_price(price) and is_volume(size)):
            out[0, i] = math.nan
            continue
        step = price - anchor
        closes[taken] = price
        volumes[taken] = size
        plain += step
        traded += size
        moved += step * size
        taken += 1
        if taken < length:
            steps, weights, total = plain + closes[taken], traded + volumes[taken], moved + moves[taken]
        else:
            steps, weights, total = 0.0, 0.0, 0.0
            for j in range(length - 1, -1, -1):
                step = closes[j] - price
                steps += step
                weights += volumes[j]
                total += step * volumes[j]
                closes[j], volumes[j], moves[j] = steps, weights, total
            taken, full, anchor = 0, 1.0, price
            plain = traded = moved = 0.0
        mean = total / weights if weights > 0.0 else steps / length
        out[0, i] = anchor + mean if full > 0.0 else math.nan
    state[0], state[1], state[2] = taken, full, anchor
    state[3], state[4], state[5] = plain, traded, moved


SPEC = KernelSpec(
    name="vwma",
    kernel=vwma,
    inputs=("close", "volume"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("",),
    state_size=lambda length: 6 + 3 * length,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="quote",
    gap=GAP,
    reference="definition; TA-Lib VWMA",
)
