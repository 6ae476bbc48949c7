"""Closes beyond the newest swing that go with the trend. Registered in the catalogue as ``break_of_structure``."""

from __future__ import annotations

import math

from research.features.structure.structure_breaks import TREND_BREAK_RING, break_warmup, trend_break
from research.features.structure.swing_points import SEEN, swing_rings_size
from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel


@kernel
def break_of_structure(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    left: int,
    right: int,
    max_age: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance closes beyond the newest confirmed swing that do not go against the trend.

    .. math::

        B_t = \begin{cases} 1 & c_t > H_t,\ T_t \ne -1 \\ -1 & c_t < L_t,\ T_t \ne 1 \\ 0 & \text{else} \end{cases}

    where :math:`H_t` and :math:`L_t` are the newest confirmed swing high and low, closed beyond for the first time,
    and :math:`T_t` is the trend of the ``swings``: 1 after a higher high and a higher low, -1 after a lower high and
    a lower low, else 0.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    left, right : int
        Bars before and after a swing that it stands out from.
    max_age : int
        A swing, and likewise a break, more bars old than this is forgotten.
    state : (14 + 2 (left + right + 1),) array
        As ``follow_swings``; bars of the swing high and of the swing low broken last (0: none); level and bar of the
        newest break that is reported here (0: none).
    out : (4, n) array
        NaN until ``left + right + 1`` bars were seen.

        ``direction``: 1 or -1 on the bar that breaks, else 0.
        ``level``: the swing that the newest such break went through, the close without one.
        ``distance``: (close - level) / close, 0 without one.
        ``age``: bars since that break, ``max_age`` if it is older or there was none.

    Notes
    -----
    A market without a trend has none to go against: its breaks count here. Every break is either one of these or a
    ``change_of_character``. The trend is read off the four newest swings and not off the break before, as some do:
    that would make today depend on a first break that nobody can date.
    """
    for i in range(close.shape[0]):
        top, bottom, price = high[i], low[i], close[i]
        out[0, i], out[1, i], out[2, i], out[3, i] = math.nan, math.nan, math.nan, math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price)):
            continue
        direction, level, age = trend_break(state, left, right, max_age, False, top, bottom, price)
        if state[SEEN] < left + right + 1:
            continue
        out[0, i], out[1, i] = direction, level
        out[2, i], out[3, i] = (price - level) / price, age


SPEC = KernelSpec(
    name="break_of_structure",
    kernel=break_of_structure,
    inputs=("high", "low", "close"),
    params=(Param("left", 5, 1, 1_000), Param("right", 5, 1, 1_000), Param("max_age", 100, 10, 100_000)),
    outputs=("direction", "level", "distance", "age"),
    state_size=lambda left, right, max_age: TREND_BREAK_RING + swing_rings_size(left, right),
    lookback=lambda left, right, max_age: left + right + 1,
    warmup=break_warmup,
    warmup_rtol=0.0,
    unit="sign; quote currency; fraction of the close; bars",
    gap=GAP,
    reference="R. Rhea, The Dow Theory, 1932; the name is that of public lessons by M. J. Huddleston",
)
