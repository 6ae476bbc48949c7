"""Time spent in a narrow band, and the way gone since. Registered in the catalogue as ``consolidation``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price
from research.kernel import FloatArray, KernelSpec, Param, kernel

# A difference of decimal prices may exceed the band that it fills by some rounding.
BAND_TOLERANCE = 1e-9


@kernel
def consolidation(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    target: float,
    width: float,
    min_bars: int,
    max_bars: int,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the consolidation: longest run of newest bars that fit into a band, and the way gone since one.

    .. math::

        n_t = \max \{ n \le max\_bars : \max_{i < n} high_{t-i} - \min_{i < n} low_{t-i} \le width \cdot target \}

    A run of at least ``min_bars`` bars is a consolidation. The last bar with one, if it lies no more than ``max_bars``
    bars back, leaves behind the band of its run, from the highest high to the lowest low.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    target : float
        Size of a move, quote currency.
    width : float
        Height of the band in targets.
    min_bars : int
        Bars from which a run is a consolidation; if above ``max_bars``, that.
    max_bars : int
        Bars at which a run is no longer counted, and after which a consolidation that ended is forgotten.
    state : (7 + 2 max_bars,) array
        Slot of the oldest bar; bars of the run; its highest high; its lowest low; bars until the band left behind is
        forgotten (0: it is); its upper edge; its lower edge; ring of highs; ring of lows.
    out : (3, n) array
        ``bars``: :math:`n_t`, 0 where the newest bar alone does not fit; ``range``: highest high less lowest low of the
        run, quote currency, 0 where there is none; ``move``: close less the edge of the last consolidation's band that
        it lies beyond, quote currency, above 0 over the band, below 0 under it, 0 within it and without one.

    Notes
    -----
    Everything hangs on the last ``2 max_bars`` bars: as many to know the band of a consolidation, and as many since it.
    A band that moves slower than ``width`` in ``min_bars`` bars is a consolidation for as long as it does. A run grows
    by at most one bar at a time; only when an edge is broken, or leaves a run of ``max_bars``, are its bars gone
    through again.
    """
    highs, lows = state[7 : 7 + max_bars], state[7 + max_bars : 7 + 2 * max_bars]
    at, run, top, bottom = int(state[0]), int(state[1]), state[2], state[3]
    fresh, ceiling, floor = int(state[4]), state[5], state[6]
    band = width * target * (1.0 + BAND_TOLERANCE)
    enough = min(min_bars, max_bars)
    for i in range(close.shape[0]):
        up, down, price = high[i], low[i], close[i]
        if not (is_price(up) and is_price(down) and is_price(price)):
            out[0, i] = out[1, i] = out[2, i] = math.nan
            continue
        # The slot about to be written holds the bar that leaves a run of ``max_bars``.
        shrunk = run == max_bars and (highs[at] >= top or lows[at] <= bottom)
        highs[at], lows[at] = up, down
        fits = max(top, up) - min(bottom, down) <= band
        if run > 0 and fits and not shrunk:
            top, bottom = max(top, up), min(bottom, down)
            run = min(run + 1, max_bars)
        else:
            longest, run, slot = min(run + 1, max_bars), 0, at
            highest, lowest = up, down
            while run < longest:
                highest, lowest = max(highest, highs[slot]), min(lowest, lows[slot])
                if highest - lowest > band:
                    break
                top, bottom = highest, lowest
                run += 1
                slot = slot - 1 if slot > 0 else max_bars - 1
        at = at + 1 if at + 1 < max_bars else 0
        if run >= enough:
            fresh, ceiling, floor = max_bars + 1, top, bottom
        elif fresh > 0:
            fresh -= 1
        out[0, i] = run
        out[1, i] = top - bottom if run > 0 else 0.0
        out[2, i] = max(price - ceiling, 0.0) + min(price - floor, 0.0) if fresh > 0 else 0.0
    state[0], state[1], state[2], state[3] = at, run, top, bottom
    state[4], state[5], state[6] = fresh, ceiling, floor


SPEC = KernelSpec(
    name="consolidation",
    kernel=consolidation,
    inputs=("high", "low", "close"),
    params=(
        Param("target", 1.0, 1e-12, 1e12),
        Param("width", 0.5, 1e-6, 1e6),
        Param("min_bars", 15, 1, 5_000),
        Param("max_bars", 60, 1, 5_000),
    ),
    outputs=("bars", "range", "move"),
    state_size=lambda target, width, min_bars, max_bars: 7 + 2 * max_bars,
    lookback=lambda target, width, min_bars, max_bars: 1,
    warmup=lambda target, width, min_bars, max_bars: 2 * max_bars,
    warmup_rtol=0.0,
    unit="bars; quote; quote",
    gap=GAP,
    reference="definition",
)
