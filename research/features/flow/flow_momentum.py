"""Recent taker flow against that of a longer window. Registered in the catalogue as ``flow_momentum``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import share_of, taker_delta
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def flow_momentum(
    taker_buy_volume: FloatArray, volume: FloatArray, fast: int, slow: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the order flow momentum: share of delta in the volume now, less that of a longer and an earlier window.

    .. math::

        d^L_t = \frac{\sum_{i < L} \delta_{t-i}}{\sum_{i < L} v_{t-i}}, \qquad d^{fast}_t - d^{slow}_t, \qquad
        d^{fast}_t - d^{fast}_{t-fast}

    Parameters
    ----------
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    fast : int
        Bars in the window of the recent flow, the newest among them, and in the window just before it.
    slow : int
        Bars in the window that the recent flow is compared with, the newest among them.
    state : (10 + 3 fast + 2 slow,) array
        Shares held, up to ``fast``; slot of the oldest; as ``windowed_pair`` over ``fast``, and over ``slow``; ring of
        shares.
    out : (2, n) array
        ``momentum``: the first difference; ``acceleration``: the second, the fast window against the one before it. In
        [-2, 2]; a window without trades has a share of 0. NaN until both windows and the one before were seen.
    """
    slow_at = 2 + 4 + 2 * fast
    shares = slow_at + 4 + 2 * slow
    held, slot = int(state[0]), int(state[1])
    for i in range(volume.shape[0]):
        bought, traded = taker_buy_volume[i], volume[i]
        out[0, i] = out[1, i] = math.nan
        if not (is_volume(bought) and is_volume(traded)):
            continue
        sample = taker_delta(bought, traded)
        flow, flow_volume = windowed_pair(state, 2, fast, sample, traded)
        tide, tide_volume = windowed_pair(state, slow_at, slow, sample, traded)
        if not flow_volume >= 0.0:  # NaN until full
            continue
        share = share_of(flow, flow_volume)
        if held == fast and tide_volume >= 0.0:
            out[0, i] = share - share_of(tide, tide_volume)
            out[1, i] = share - state[shares + slot]
        held = min(held + 1, fast)
        state[shares + slot] = share
        slot = slot + 1 if slot + 1 < fast else 0
    state[0], state[1] = held, slot


SPEC = KernelSpec(
    name="flow_momentum",
    kernel=flow_momentum,
    inputs=("taker_buy_volume", "volume"),
    params=(Param("fast", 10, 1, 100_000), Param("slow", 60, 1, 100_000)),
    outputs=("momentum", "acceleration"),
    state_size=lambda fast, slow: 2 + pair_size(fast) + pair_size(slow) + fast,
    lookback=lambda fast, slow: max(2 * fast, slow),
    warmup=lambda fast, slow: max(2 * fast, slow),
    warmup_rtol=WINDOW_RTOL,
    unit="share of volume",
    gap=GAP,
    reference="definition",
)
