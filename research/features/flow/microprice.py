"""Mid price weighted by the sizes at the best prices. Registered in the catalogue as ``microprice``."""

from __future__ import annotations

import math

from research.features.flow.shares import imbalance_of
from research.features.validity import GAP, is_price, is_volume
from research.kernel import FloatArray, KernelSpec, kernel

BASIS_POINTS = 1e4


@kernel
def microprice(
    close: FloatArray,
    bid_price: FloatArray,
    ask_price: FloatArray,
    bid_size: FloatArray,
    ask_size: FloatArray,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Write the microprice: the size-weighted mid price, and how far it is from the mid and from the last trade.

    .. math::

        p = \frac{ask \cdot q_{bid} + bid \cdot q_{ask}}{q_{bid} + q_{ask}}
        = m + \frac{q_{bid} - q_{ask}}{q_{bid} + q_{ask}} \cdot \frac{ask - bid}{2}, \qquad m = \frac{bid + ask}{2}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    bid_price, ask_price : (n,) array
        Best prices at the close of the bar, quote currency.
    bid_size, ask_size : (n,) array
        Sizes there, base currency.
    state : (0,) array
        Nothing is remembered.
    out : (4, n) array
        ``price``: p, quote; the mid price where both sizes are 0. ``fraction``: p less the mid price in spreads, in
        [-0.5, 0.5]; 0 where the spread is not above 0. ``bps``: the same in ten-thousandths of the mid price.
        ``close_bps``: p less the close in ten-thousandths of the close.

    Notes
    -----
    The weighted mid price, which is the first step of Stoikov's estimate: that one goes on to learn from the past how
    the mid price moves given spread and imbalance, and is a model to be trained rather than a formula.
    """
    for i in range(close.shape[0]):
        price, bid, ask = close[i], bid_price[i], ask_price[i]
        bids, asks = bid_size[i], ask_size[i]
        for k in range(4):
            out[k, i] = math.nan
        if not (is_price(price) and is_price(bid) and is_price(ask) and is_volume(bids) and is_volume(asks)):
            continue
        mid, spread = 0.5 * (bid + ask), ask - bid
        fraction = 0.5 * imbalance_of(bids, asks)
        away = fraction * spread
        out[0, i] = mid + away
        out[1, i] = fraction if spread > 0.0 else 0.0
        out[2, i] = BASIS_POINTS * (away / mid)
        out[3, i] = BASIS_POINTS * ((mid + away - price) / price)


SPEC = KernelSpec(
    name="microprice",
    kernel=microprice,
    inputs=("close", "bid_price", "ask_price", "bid_size", "ask_size"),
    params=(),
    outputs=("price", "fraction", "bps", "close_bps"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="quote; spreads; basis points; basis points",
    gap=GAP,
    reference=(
        "S. Stoikov, The micro-price: a high-frequency estimator of future prices, Quantitative Finance 18(12), 2018"
    ),
)
