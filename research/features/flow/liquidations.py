"""Forced closes of longs and shorts, and when they cluster. Registered in the catalogue as ``liquidations``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import imbalance_of, share_of
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL, sum_size, windowed_sum
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Sums that are equal but for their rounding make no cluster.
MARGIN = 1e-9


@kernel
def liquidations(
    long_liquidation_volume: FloatArray,
    short_liquidation_volume: FloatArray,
    volume: FloatArray,
    length: int,
    slow: int,
    factor: float,
    max_bars: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the liquidations of longs and shorts as shares of the volume, and clusters of them (cascades).

    .. math::

        \frac{1}{length} \sum_{i < length} (l_{t-i} + s_{t-i}) > factor \cdot
        \frac{1}{slow} \sum_{i < slow} (l_{t-i} + s_{t-i})

    Parameters
    ----------
    long_liquidation_volume, short_liquidation_volume : (n,) array
        Liquidations l of longs, which sell, and s of shorts, which buy; base currency.
    volume : (n,) array
        Base currency.
    length : int
        Bars in the rolling sums, the newest among them.
    slow : int
        Bars in what is usual, the newest among them.
    factor : float
        How many times the usual makes a cluster. No cluster can be when it is not below ``slow / length``.
    max_bars : int
        Bars after which a cluster is forgotten.
    state : (12 + 3 length + slow,) array
        Readable bars seen, up to the longer window; bars until the last cluster is forgotten (0: it is); as
        ``windowed_pair`` over ``length``; twice as ``windowed_sum``, over ``length`` and over ``slow``.
    out : (7, n) array
        ``long_share``, ``short_share``: of the bar's volume, in [0, 1], 0 where nothing was traded; ``rolling_long``,
        ``rolling_short``: the same over ``length`` bars. ``imbalance``: shorts less longs over both, over ``length``
        bars, in [-1, 1]: above 0 forced buying. ``cluster``: 1 or 0 as above. ``age``: bars since the last bar of a
        cluster, at most ``max_bars``, which also stands for none. NaN until both windows are full.
    """
    volumes = 2 + 4 + 2 * length
    usual = volumes + 3 + length
    seen, fresh = int(state[0]), state[1]
    needed = max(length, slow)
    for i in range(volume.shape[0]):
        longs, shorts, traded = long_liquidation_volume[i], short_liquidation_volume[i], volume[i]
        for k in range(7):
            out[k, i] = math.nan
        if not (is_volume(longs) and is_volume(shorts) and is_volume(traded)):
            continue
        rolling_long, rolling_short = windowed_pair(state, 2, length, longs, shorts)
        rolling_volume = windowed_sum(state, volumes, length, traded)
        mean = windowed_sum(state, usual, slow, longs + shorts) / slow
        seen = min(seen + 1, needed)
        if seen < needed:
            continue
        cluster = (rolling_long + rolling_short) / length > factor * mean * (1.0 + MARGIN)
        fresh = float(max_bars) if cluster else max(fresh - 1.0, 0.0)
        out[0, i] = share_of(longs, traded)
        out[1, i] = share_of(shorts, traded)
        out[2, i] = share_of(rolling_long, rolling_volume)
        out[3, i] = share_of(rolling_short, rolling_volume)
        out[4, i] = imbalance_of(rolling_short, rolling_long)
        out[5, i] = 1.0 if cluster else 0.0
        out[6, i] = max_bars - fresh
    state[0], state[1] = seen, fresh


SPEC = KernelSpec(
    name="liquidations",
    kernel=liquidations,
    inputs=("long_liquidation_volume", "short_liquidation_volume", "volume"),
    params=(
        Param("length", 15, 1, 100_000),
        Param("slow", 480, 1, 100_000),
        Param("factor", 3.0, 1.0, 1e6),
        Param("max_bars", 60, 1, 100_000),
    ),
    outputs=("long_share", "short_share", "rolling_long", "rolling_short", "imbalance", "cluster", "age"),
    state_size=lambda length, slow, factor, max_bars: 2 + pair_size(length) + sum_size(length) + sum_size(slow),
    lookback=lambda length, slow, factor, max_bars: max(length, slow),
    warmup=lambda length, slow, factor, max_bars: max(length, slow) + max_bars - 1,
    warmup_rtol=WINDOW_RTOL,
    unit="shares of volume; share of liquidations; 0 or 1; bars",
    gap=GAP,
    reference="definition",
)
