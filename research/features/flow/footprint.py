"""Where in a bar volume met: the point of control, its extremes and imbalances. Registered as ``footprint``."""

from __future__ import annotations

import math

from research.features.flow.shares import imbalance_of, share_of
from research.features.validity import GAP, is_number, is_price, is_volume
from research.kernel import FloatArray, KernelSpec, kernel


@kernel
def footprint(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    footprint_poc: FloatArray,
    footprint_high_delta: FloatArray,
    footprint_low_delta: FloatArray,
    footprint_buy_imbalances: FloatArray,
    footprint_sell_imbalances: FloatArray,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Write the footprint of a bar, free of its units: POC, delta at the extremes, absorption, imbalances.

    .. math::

        \text{absorption} = \frac{\max(-\delta_{low}, 0)}{v} \cdot \frac{c - low}{high - low}
        - \frac{\max(\delta_{high}, 0)}{v} \cdot \frac{high - c}{high - low}

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency.
    footprint_poc : (n,) array
        Price level with the most volume, quote currency.
    footprint_high_delta, footprint_low_delta : (n,) array
        Taker buys less sells at the highest and at the lowest price level, base currency.
    footprint_buy_imbalances, footprint_sell_imbalances : (n,) array
        Levels at which one side outweighs the other.
    state : (0,) array
        Nothing is remembered.
    out : (5, n) array
        ``poc``: place of the point of control between low (0) and high (1). ``high_delta``, ``low_delta``: share of the
        bar's volume, in [-1, 1]. ``absorption``: as above, in [-1, 1]; above 0 where sellers hit the low and the price
        closed away from it, below 0 where buyers lifted the high and it closed away from that. ``imbalance``: buy less
        sell imbalances over their sum, in [-1, 1]. Where high is low ``poc`` is 0.5 and ``absorption`` 0; where nothing
        was traded, or there is no imbalance, the rest is 0.
    """
    for i in range(close.shape[0]):
        top, bottom, price, traded = high[i], low[i], close[i], volume[i]
        poc, above, below = footprint_poc[i], footprint_high_delta[i], footprint_low_delta[i]
        buys, sells = footprint_buy_imbalances[i], footprint_sell_imbalances[i]
        for k in range(5):
            out[k, i] = math.nan
        if not (
            is_price(top)
            and is_price(bottom)
            and is_price(price)
            and is_price(poc)
            and is_volume(traded)
            and is_number(above)
            and is_number(below)
            and is_volume(buys)
            and is_volume(sells)
        ):
            continue
        reach = top - bottom
        place, closed, open_above = 0.5, 0.0, 0.0
        if reach > 0.0:
            place = min(max((poc - bottom) / reach, 0.0), 1.0)
            closed = min(max((price - bottom) / reach, 0.0), 1.0)
            open_above = 1.0 - closed
        at_high, at_low = share_of(above, traded), share_of(below, traded)
        out[0, i] = place
        out[1, i] = at_high
        out[2, i] = at_low
        out[3, i] = max(-at_low, 0.0) * closed - max(at_high, 0.0) * open_above
        out[4, i] = imbalance_of(buys, sells)


SPEC = KernelSpec(
    name="footprint",
    kernel=footprint,
    inputs=(
        "high",
        "low",
        "close",
        "volume",
        "footprint_poc",
        "footprint_high_delta",
        "footprint_low_delta",
        "footprint_buy_imbalances",
        "footprint_sell_imbalances",
    ),
    params=(),
    outputs=("poc", "high_delta", "low_delta", "absorption", "imbalance"),
    state_size=lambda: 0,
    lookback=lambda: 1,
    warmup=lambda: 1,
    warmup_rtol=0.0,
    unit="fraction of the range; shares of volume; share of the imbalances",
    gap=GAP,
    reference="definition",
)
