"""Trades that are large: their share, direction and number. Registered in the catalogue as ``large_trades``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import share_of
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def large_trades(
    large_buy_volume: FloatArray,
    large_sell_volume: FloatArray,
    large_count: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the large trades: their share of the volume, of a bar and of ``length`` bars, delta, and arrivals.

    .. math::

        \frac{b_t + s_t}{v_t}, \qquad \frac{b_t - s_t}{v_t}, \qquad
        \frac{\sum_{i < length} (b_{t-i} + s_{t-i})}{\sum_{i < length} v_{t-i}}, \qquad
        \frac{\sum_{i < length} (b_{t-i} - s_{t-i})}{\sum_{i < length} v_{t-i}}

    Parameters
    ----------
    large_buy_volume, large_sell_volume : (n,) array
        Volume of large trades whose taker bought and sold, base currency.
    large_count : (n,) array
        Large trades.
    volume : (n,) array
        Base currency; taken as that of the large trades where it is less.
    length : int
        Bars in the window, the newest among them.
    state : (8 + 4 length,) array
        Twice as ``windowed_pair``.
    out : (5, n) array
        ``share``, ``delta``, ``rolling_share``, ``rolling_delta``: as above, the shares in [0, 1], the deltas in
        [-1, 1], 0 where nothing was traded. ``arrivals``: large trades of the bar over their mean number in the window,
        1 where there were none. NaN until ``length`` bars were seen.
    """
    counts = 4 + 2 * length
    for i in range(volume.shape[0]):
        bought, sold, count, traded = large_buy_volume[i], large_sell_volume[i], large_count[i], volume[i]
        for k in range(5):
            out[k, i] = math.nan
        if not (is_volume(bought) and is_volume(sold) and is_volume(count) and is_volume(traded)):
            continue
        large = bought + sold
        traded = max(traded, large)
        window_large, window_volume = windowed_pair(state, 0, length, large, traded)
        window_delta, window_count = windowed_pair(state, counts, length, bought - sold, count)
        if window_volume >= 0.0:  # NaN until full
            out[0, i] = share_of(large, traded)
            out[1, i] = share_of(bought - sold, traded)
            out[2, i] = share_of(window_large, window_volume)
            out[3, i] = share_of(window_delta, window_volume)
            out[4, i] = count / window_count * length if window_count > 0.0 else 1.0


SPEC = KernelSpec(
    name="large_trades",
    kernel=large_trades,
    inputs=("large_buy_volume", "large_sell_volume", "large_count", "volume"),
    params=(Param("length", 60, 1, 100_000),),
    outputs=("share", "delta", "rolling_share", "rolling_delta", "arrivals"),
    state_size=lambda length: 2 * pair_size(length),
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="shares of volume; multiples of the mean number",
    gap=GAP,
    reference="definition",
)
