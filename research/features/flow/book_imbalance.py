"""Sizes bid less sizes offered, at four depths of the book. Registered in the catalogue as ``book_imbalance``."""

from __future__ import annotations

import math

from research.features.flow.paired_sums import pair_size, windowed_pair
from research.features.flow.shares import imbalance_of
from research.features.validity import GAP, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def book_imbalance(
    bid_size: FloatArray,
    ask_size: FloatArray,
    bid_depth_5: FloatArray,
    ask_depth_5: FloatArray,
    bid_depth_10: FloatArray,
    ask_depth_10: FloatArray,
    bid_depth_20: FloatArray,
    ask_depth_20: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the order book imbalance at the best price and over 5, 10 and 20 levels, and the means of each.

    .. math::

        I_t = \frac{bid_t - ask_t}{bid_t + ask_t}, \qquad \frac{1}{length} \sum_{i < length} I_{t-i}

    Parameters
    ----------
    bid_size, ask_size : (n,) array
        At the best price, base currency, at the close of the bar.
    bid_depth_5, ask_depth_5, bid_depth_10, ask_depth_10, bid_depth_20, ask_depth_20 : (n,) array
        Of the best 5, 10 and 20 levels, base currency.
    length : int
        Bars in the means, the newest among them.
    state : (8 + 4 length,) array
        Twice as ``windowed_pair``.
    out : (8, n) array
        ``best``, ``levels_5``, ``levels_10``, ``levels_20``, and the mean of each over the window. In [-1, 1], above 0
        where more is bid than offered, 0 where neither is; NaN until ``length`` bars were seen.
    """
    deeper = 4 + 2 * length
    weight = 1.0 / length
    for i in range(bid_size.shape[0]):
        bid, ask = bid_size[i], ask_size[i]
        bid_5, ask_5 = bid_depth_5[i], ask_depth_5[i]
        bid_10, ask_10 = bid_depth_10[i], ask_depth_10[i]
        bid_20, ask_20 = bid_depth_20[i], ask_depth_20[i]
        for k in range(8):
            out[k, i] = math.nan
        if not (
            is_volume(bid)
            and is_volume(ask)
            and is_volume(bid_5)
            and is_volume(ask_5)
            and is_volume(bid_10)
            and is_volume(ask_10)
            and is_volume(bid_20)
            and is_volume(ask_20)
        ):
            continue
        best, of_5 = imbalance_of(bid, ask), imbalance_of(bid_5, ask_5)
        of_10, of_20 = imbalance_of(bid_10, ask_10), imbalance_of(bid_20, ask_20)
        sum_best, sum_5 = windowed_pair(state, 0, length, best, of_5)
        sum_10, sum_20 = windowed_pair(state, deeper, length, of_10, of_20)
        if sum_best == sum_best:  # NaN until full
            out[0, i] = best
            out[1, i] = of_5
            out[2, i] = of_10
            out[3, i] = of_20
            out[4, i] = sum_best * weight
            out[5, i] = sum_5 * weight
            out[6, i] = sum_10 * weight
            out[7, i] = sum_20 * weight


SPEC = KernelSpec(
    name="book_imbalance",
    kernel=book_imbalance,
    inputs=(
        "bid_size",
        "ask_size",
        "bid_depth_5",
        "ask_depth_5",
        "bid_depth_10",
        "ask_depth_10",
        "bid_depth_20",
        "ask_depth_20",
    ),
    params=(Param("length", 20, 1, 100_000),),
    outputs=("best", "levels_5", "levels_10", "levels_20", "mean_best", "mean_5", "mean_10", "mean_20"),
    state_size=lambda length: 2 * pair_size(length),
    lookback=lambda length: length,
    warmup=lambda length: length,
    warmup_rtol=WINDOW_RTOL,
    unit="share of the size on both sides",
    gap=GAP,
    reference=(
        "C. Cao, O. Hansch, X. Wang, The information content of an open limit-order book, "
        "Journal of Futures Markets 29(1), 2009"
    ),
)
