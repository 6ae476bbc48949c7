"""Ratio of taker buys to taker sells. Registered in the catalogue as ``taker_ratio``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel

# Neither side is taken as less than this share of the volume: one small trade against nothing is no infinite ratio.
LEAST_SHARE = 1e-3


@kernel
def taker_ratio(
    taker_buy_volume: FloatArray, volume: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the log ratio of taker buys to taker sells (long/short ratio of takers), of a bar and of a window.

    .. math::

        \ln \frac{b_t}{v_t - b_t}, \qquad \ln \frac{\sum_{i < length} b_{t-i}}{\sum_{i < length} (v_{t-i} - b_{t-i})}

    Parameters
    ----------
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_pair``.
    out : (2, n) array
        ``log_ratio``: of the bar; ``rolling``: of the window; 0 where both sides are equal or nothing was traded,
        within :math:`\pm \ln 999`, each side being taken as at least a thousandth of the volume. NaN until ``length``
        bars were seen.

    Notes
    -----
    The exponential of it is the long/short ratio of takers that exchanges publish.
    """
    for i in range(volume.shape[0]):
        traded = volume[i]
        bought = taker_buy_volume[i]
        out[0, i] = out[1, i] = math.nan
        if not (is_volume(bought) and is_volume(traded)):
            continue
        bought = min(bought, traded)
        sold = traded - bought
        buys, sells = windowed_pair(state, 0, length, bought, sold)
        if buys >= 0.0:  # NaN until full
            out[0, i] = _log_ratio(bought, sold)
            out[1, i] = _log_ratio(buys, sells)


@kernel
def _log_ratio(bought: float, sold: float) -> float:
    if not bought + sold > 0.0:
        return 0.0
    share = min(max(bought / (bought + sold), LEAST_SHARE), 1.0 - LEAST_SHARE)
    return math.log(share / (1.0 - share))


SPEC = KernelSpec(
    name="taker_ratio",
    kernel=taker_ratio,
    inputs=("taker_buy_volume", "volume"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("log_ratio", "rolling"),
    state_size=pair_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="log ratio",
    gap=GAP,
    reference="definition; Binance USDⓈ-M futures, Taker Buy/Sell Volume",
)
