"""Trades of takers who bought less trades of those who sold. Registered in the catalogue as ``trade_imbalance``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import share_of, taker_delta
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def trade_imbalance(
    buy_count: FloatArray, trade_count: FloatArray, length: int, state: FloatArray, out: FloatArray
) -> None:
    r"""Advance the trade imbalance: share by which buying trades outnumber selling ones, of a bar and a window.

    .. math::

        \frac{2 b_t - n_t}{n_t}, \qquad \frac{\sum_{i < length} (2 b_{t-i} - n_{t-i})}{\sum_{i < length} n_{t-i}}

    Parameters
    ----------
    buy_count, trade_count : (n,) array
        Trades whose taker bought, taken as all where they are more, and all trades.
    length : int
        Bars in the window, the newest among them.
    state : (4 + 2 length,) array
        As ``windowed_pair``.
    out : (2, n) array
        ``share``: of the bar; ``rolling``: of the window; in [-1, 1], 0 where nothing was traded. NaN until ``length``
        bars were seen.

    Notes
    -----
    Against the share of volume that ``delta`` gives, every trade counts alike: where the two part, large and small
    traders do.
    """
    for i in range(trade_count.shape[0]):
        buys, count = buy_count[i], trade_count[i]
        out[0, i] = out[1, i] = math.nan
        if not (is_volume(buys) and is_volume(count)):
            continue
        difference = taker_delta(buys, count)
        window, window_count = windowed_pair(state, 0, length, difference, count)
        if window_count >= 0.0:  # NaN until full
            out[0, i] = share_of(difference, count)
            out[1, i] = share_of(window, window_count)


SPEC = KernelSpec(
    name="trade_imbalance",
    kernel=trade_imbalance,
    inputs=("buy_count", "trade_count"),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("share", "rolling"),
    state_size=pair_size,
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="share of trades",
    gap=GAP,
    reference="T. Chordia, R. Roll, A. Subrahmanyam, Order imbalance, liquidity, and market returns, JFE 65(1), 2002",
)
