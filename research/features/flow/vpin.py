"""Toxicity of order flow: volume-weighted size of the imbalance. Registered in the catalogue as ``vpin``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import share_of, taker_delta
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def vpin(taker_buy_volume: FloatArray, volume: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the VPIN (order flow toxicity): share of volume that met no opposite flow, with bars as buckets.

    .. math::

        \frac{\sum_{i < length} |b_{t-i} - s_{t-i}|}{\sum_{i < length} v_{t-i}}

    with s what takers sold.

    Parameters
    ----------
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_pair``.
    out : (1, n) array
        In [0, 1]; NaN until ``length`` bars were seen, 0 where nothing was traded.

    Notes
    -----
    The original cuts trading into buckets of equal volume, and guesses the takers' sides from the price. Here a bar is
    a bucket, so that what is read does not depend on when the first bucket began, and the sides are known. Such buckets
    are equal in time and not in volume: each counts by its volume.
    """
    for i in range(volume.shape[0]):
        bought, traded = taker_buy_volume[i], volume[i]
        out[0, i] = math.nan
        if not (is_volume(bought) and is_volume(traded)):
            continue
        alone, total = windowed_pair(state, 0, length, abs(taker_delta(bought, traded)), traded)
        if total >= 0.0:  # NaN until full
            out[0, i] = share_of(alone, total)


SPEC = KernelSpec(
    name="vpin",
    kernel=vpin,
    inputs=("taker_buy_volume", "volume"),
    params=(Param("length", 50, 1, 100_000),),
    outputs=("",),
    state_size=pair_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="share of volume",
    gap=GAP,
    reference=(
        "D. Easley, M. López de Prado, M. O'Hara, Flow Toxicity and Liquidity in a High-frequency World, "
        "Review of Financial Studies 25(5), 2012"
    ),
)
