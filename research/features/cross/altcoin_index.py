"""Equal-weighted index of several symbols, and a symbol against it. Registered as ``altcoin_index``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

MEMBERS = 32


@kernel
def altcoin_index(close: FloatArray, basket_close: FloatArray, length: int, state: FloatArray, out: FloatArray) -> None:
    r"""Advance the altcoin index: return of an equal-weighted basket, the symbol against it, breadth, dispersion.

    .. math::

        R_t = \sum_{i < length} \frac{1}{m} \sum_{j=1}^{m} \ln \frac{p_{j,t-i}}{p_{j,t-i-1}}
        = \frac{1}{m} \sum_{j=1}^{m} \ln \frac{p_{j,t}}{p_{j,t-length}}

    Parameters
    ----------
    close : (n,) array
        Quote currency.
    basket_close : (n, members) array
        Closes of up to 32 members of the index, quote currency. A bar on which one of them is missing is not read.
    length : int
        Bars of the return.
    state : (2 + 33 length,) array
        Bars held, up to ``length``; slot of the oldest; ring of rows of the close and of 32 members.
    out : (4, n) array
        ``index``: log return of the index over ``length`` bars. ``relative``: log return of the close less that.
        ``breadth``: share of the members that closed higher than ``length`` bars ago, a member that did not move
        counting half, in [0, 1]. ``dispersion``: standard deviation of the members' log returns (divisor the number of
        members). NaN until ``length + 1`` bars were seen.

    Notes
    -----
    The basket may contain the symbol itself; ``relative`` then compares it with a mean that includes it, and is smaller
    for it, by the factor :math:`1 - 1 / m` of what it is against the other members.

    The geometric mean of the members, chained from bar to bar: what a member has gained before changes no weight, and
    the chain telescopes, so that nothing is summed up and a restart is equal to the bit.
    """
    members = min(basket_close.shape[1], MEMBERS)
    row = 1 + MEMBERS
    count, slot = int(state[0]), int(state[1])
    for i in range(close.shape[0]):
        price = close[i]
        out[0, i] = out[1, i] = out[2, i] = out[3, i] = math.nan
        readable = is_price(price)
        for j in range(members):
            readable = readable and is_price(basket_close[i, j])
        if not readable:
            continue
        at = 2 + slot * row
        if count == length:
            mean, m2, rising = 0.0, 0.0, 0.0
            for j in range(members):
                now, before = basket_close[i, j], state[at + 1 + j]
                gain = math.log(now / before)
                gap = gain - mean
                mean += gap / (j + 1)
                m2 += gap * (gain - mean)
                if now > before:
                    rising += 1.0
                elif now == before:
                    rising += 0.5
            out[0, i] = mean
            out[1, i] = math.log(price / state[at]) - mean
            out[2, i] = rising / members
            out[3, i] = math.sqrt(m2 / members)
        else:
            count += 1
        state[at] = price
        for j in range(members):
            state[at + 1 + j] = basket_close[i, j]
        slot = slot + 1 if slot + 1 < length else 0
    state[0], state[1] = count, slot


SPEC = KernelSpec(
    name="altcoin_index",
    kernel=altcoin_index,
    inputs=("close", "basket.close"),
    params=(Param("length", 60, 1, 5_000),),
    outputs=("index", "relative", "breadth", "dispersion"),
    state_size=lambda length: 2 + (1 + MEMBERS) * length,
    lookback=lambda length: length + 1,
    warmup=lambda length: length + 1,
    warmup_rtol=0.0,
    unit="log return; log return; fraction of members; log return",
    gap=GAP,
    reference="A. Bernhard & Co., Value Line Composite (geometric) average, 1961",
)
