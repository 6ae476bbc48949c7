"""Cumulative volume delta of the session and of a window. Registered in the catalogue as ``cvd``."""

from __future__ import annotations

import math

from research.features.flow.shares import share_of, taker_delta
from research.features.validity import GAP, is_price, is_volume
from research.features.window import WINDOW_RTOL
from research.kernel import FloatArray, IntArray, KernelSpec, Param, kernel

DAY_NS = 86_400_000_000_000
DAY_BARS = 1_440
# A sum of deltas below this share of the volume is taken as 0: its sign is that of a rounding.
LEAST_SHARE = 1e-9


@kernel
def cvd(
    ts: IntArray,
    close: FloatArray,
    taker_buy_volume: FloatArray,
    volume: FloatArray,
    length: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the cumulative volume delta (CVD) since midnight and over ``length`` bars, its slope and divergence.

    .. math::

        D_t = \sum_{i < length} \delta_{t-i}, \qquad V_t = \sum_{i < length} v_{t-i}, \qquad
        \text{slope}_t = \frac{1}{V_t} \sum_{j=1}^{length}
        \frac{6 \, j \, (length + 1 - j)}{(length + 1)(length + 2)} \, \delta_{t-length+j}

    The slope is that of the least-squares line through the ``length + 1`` points of the running sum in the window,
    over the mean volume of a bar.

    Parameters
    ----------
    ts : (n,) array of int64
        Open time, nanoseconds since the epoch, UTC.
    close : (n,) array
        Quote currency.
    taker_buy_volume, volume : (n,) array
        Base currency; what takers bought, taken as the volume where it is more, and all that was traded.
    length : int
        Bars in the window, the newest among them.
    state : (11 + 4 length,) array
        Number of the UTC day; delta and volume since it began; closes held, up to ``length``; slot of the oldest close;
        bars in the block under way; whether a block is complete; and of that block the sums of delta, volume, delta
        times its age and times the square of its age, the newest of age 1; ring of closes; rings of delta, volume and
        weighted delta.
    out : (6, n) array
        ``session``: delta since midnight UTC, base; ``session_share``: of the volume since then, in [-1, 1].
        ``rolling``: :math:`D_t`, base; ``share``: :math:`D_t / V_t`, in [-1, 1]. ``slope``: as above, in [-1.5, 1.5].
        ``divergence``: 1 where takers bought and the price fell over ``length`` bars, -1 where they sold and it rose,
        else 0. Shares and the slope are 0 where nothing was traded. NaN until ``length + 1`` bars were seen.

    Notes
    -----
    The running sum since the first bar ever is not given: its level says when somebody began to count. The session
    starts anew at midnight and is then equal to the bit; the warm-up is a day of bars of one minute.

    With a the age of a delta, of which the oldest in the window has ``length`` and the newest 1, its weight in the
    slope is a multiple of :math:`a (length + 1 - a)`, the same seen from either end of the window: a block under way
    and the rest of the block before are summed with the same formula, each counting from its own end.
    """
    day, session, session_volume = state[0], state[1], state[2]
    held, oldest, taken, full = int(state[3]), int(state[4]), int(state[5]), state[6]
    flow, total, aged, aged_twice = state[7], state[8], state[9], state[10]
    closes, flows = 11, 11 + length
    totals, weighted = flows + length, flows + 2 * length
    scale = 6.0 / ((length + 1.0) * (length + 2.0))
    for i in range(close.shape[0]):
        price, bought, traded = close[i], taker_buy_volume[i], volume[i]
        for k in range(6):
            out[k, i] = math.nan
        if not (is_price(price) and is_volume(bought) and is_volume(traded)):
            continue
        sample = taker_delta(bought, traded)
        today = float(ts[i] // DAY_NS)
        if today != day:
            day, session, session_volume = today, 0.0, 0.0
        session += sample
        session_volume += traded
        state[flows + taken], state[totals + taken] = sample, traded
        flow += sample
        total += traded
        aged_twice += 2.0 * aged + flow
        aged += flow
        taken += 1
        if taken < length:
            window, window_volume = flow + state[flows + taken], total + state[totals + taken]
            line = (length + 1.0) * aged - aged_twice + state[weighted + taken]
        else:
            window, window_volume, first, second = 0.0, 0.0, 0.0, 0.0
            for j in range(length - 1, -1, -1):
                newer = state[flows + j]
                window += newer
                window_volume += state[totals + j]
                second += 2.0 * first + window
                first += window
                state[flows + j], state[totals + j] = window, window_volume
                state[weighted + j] = (length + 1.0) * first - second
            line = state[weighted]
            flow, total, aged, aged_twice = 0.0, 0.0, 0.0, 0.0
            taken, full = 0, 1.0
        if held == length and full > 0.0:
            before = state[closes + oldest]
            share = share_of(window, window_volume)
            buying = int(share > LEAST_SHARE) - int(share < -LEAST_SHARE)
            rising = int(price > before) - int(price < before)
            out[0, i] = session
            out[1, i] = share_of(session, session_volume)
            out[2, i] = window
            out[3, i] = share
            out[4, i] = scale * line / window_volume if window_volume > 0.0 else 0.0
            out[5, i] = buying if buying * rising < 0 else 0.0
        held = min(held + 1, length)
        state[closes + oldest] = price
        oldest = oldest + 1 if oldest + 1 < length else 0
    state[0], state[1], state[2], state[3], state[4] = day, session, session_volume, held, oldest
    state[5], state[6], state[7], state[8], state[9], state[10] = taken, full, flow, total, aged, aged_twice


SPEC = KernelSpec(
    name="cvd",
    kernel=cvd,
    inputs=("ts", "close", "taker_buy_volume", "volume"),
    params=(Param("length", 60, 1, 100_000),),
    outputs=("session", "session_share", "rolling", "share", "slope", "divergence"),
    state_size=lambda length: 11 + 4 * length,
    lookback=lambda length: length + 1,
    warmup=lambda length: max(DAY_BARS, length + 1),
    warmup_rtol=WINDOW_RTOL,
    unit="base; share of volume; base; share of volume; mean volumes per bar; -1, 0 or 1",
    gap=GAP,
    reference="definition",
)
