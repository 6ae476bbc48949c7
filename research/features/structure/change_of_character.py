"""Closes beyond a swing that go against the break before. Registered in the catalogue as ``change_of_character``."""

from __future__ import annotations

import math

from research.features.structure.structure_breaks import KIND_RING, break_of_kind, break_warmup
from research.features.structure.swing_points import SEEN, swing_rings_size
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def change_of_character(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the changes of character (CHoCH): closes beyond the newest swing that go against the break before.

    .. math::

        D_t &= \begin{cases} 1 & c_t > H_t \\ -1 & c_t < L_t \\ 0 & \text{else} \end{cases} \\
        B_t &= \begin{cases} D_t & D_s = -D_t \\ 0 & \text{else} \end{cases}

    where :math:`H_t` and :math:`L_t` are the newest confirmed swing high and low, closed beyond for the first time,
    and :math:`s` is the bar of the break before: the newest :math:`s < t` with :math:`D_s \ne 0`. Without one less
    than ``max_age`` bars ago :math:`D_s` is 0.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    left : int
        Bars before a swing, all of which it has to exceed: a swing high with its high, a swing low with its low.
    right : int
        Bars after a swing, none of which may exceed it. It is confirmed, and known, that many bars late.
    max_age : int
        A swing more bars old than this is forgotten, and so is a break this many bars old.
    state : (15 + 2 (left + right + 1),) array
        As ``follow_swings``; bars of the swing high and of the swing low broken last (0: none); level and bar of the
        newest break that is reported here (0: none); bar of the newest break of either kind, negative if it went
        down (0: none).
    out : (4, n) array
        NaN until ``left + right + 1`` bars were seen.

        ``direction``: 1 or -1 on the bar that breaks, else 0.
        ``level``: the swing that the newest such break went through, the close without one.
        ``distance``: (close - level) / close, 0 without one.
        ``age``: bars since that break, ``max_age`` if it is older or there was none.

    Notes
    -----
    The first sign of a reversal: after a break upwards the first close below the newest swing low, after a break
    downwards the first close above the newest swing high. All other breaks are of ``break_of_structure``. The other
    common reading asks for a break against the trend of the labels of the newest swings (``trend`` of ``swings``): it
    misses the turns of a market whose highs and lows disagree. Neither asks whether the swing broken is the one that
    the last extreme set out from.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        out[0, i], out[1, i], out[2, i], out[3, i] = math.nan, math.nan, math.nan, math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        direction, level, age = break_of_kind(state, left, right, max_age, True, top, bottom, price)
        if state[SEEN] < left + right + 1:
            continue
        out[0, i], out[1, i] = direction, level
        out[2, i], out[3, i] = (price - level) / price, age


SPEC = KernelSpec(
    name="change_of_character",
    kernel=change_of_character,
    inputs=("high", "low", "close"),
    params=(Param("left", 5, 1, 1_000), Param("right", 5, 1, 1_000), Param("max_age", 100, 10, 100_000)),
    outputs=("direction", "level", "distance", "age"),
    state_size=lambda left, right, max_age: KIND_RING + swing_rings_size(left, right),
    lookback=lambda left, right, max_age: left + right + 1,
    warmup=break_warmup,
    warmup_rtol=0.0,
    unit="sign; quote currency; fraction of the close; bars",
    gap=GAP,
    reference="R. Rhea, The Dow Theory, 1932; the name is that of public lessons by M. J. Huddleston",
)
