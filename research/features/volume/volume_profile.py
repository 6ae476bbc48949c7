"""Rolling volume by price, its peak and its value area. Registered in the catalogue as ``volume_profile``."""

from __future__ import annotations

import math

from research.features.validity import GAP, is_price, is_volume
from research.kernel import FloatArray, KernelSpec, Param, kernel

HEAD = 3
BASIS_POINT = 1e-4


@kernel
def volume_profile(
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    volume: FloatArray,
    length: int,
    bin_bps: float,
    area: float,
    state: FloatArray,
    out: FloatArray,
) -> None:
    r"""Advance the volume profile of the last ``length`` bars: point of control (POC), value area (VAH, VAL).

    Prices fall into rows of one height in :math:`\ln p`, which do not move with the window. The volume of a bar
    counts in the row of its typical price,

    .. math::

        k = \left\lfloor \frac{\ln \tfrac{1}{3}(high + low + close)}{w} \right\rfloor,
        \qquad w = \frac{bin\_bps}{10^4}

    The point of control is the row with the most volume, the lowest of equals. The value area begins with it and takes
    in the next row above or below, whichever has more volume (the one above of equals), until it holds the share
    ``area`` of all volume. Rows without volume are passed over.

    Parameters
    ----------
    high, low, close : (n,) array
        Quote currency.
    volume : (n,) array
        Base currency, not below zero.
    length : int
        Bars in the window, the newest among them.
    bin_bps : float
        Height of a row, hundredths of a percent of the price.
    area : float
        Share of the volume that the value area holds at least, usually 0.7.
    state : (3 + 6 length,) array
        Slot of the oldest bar; bars in the window; rows with volume; by slot: row, volume, slot of the next bar in the
        same row; by row with volume, from the lowest: row, its volume, slot of its newest bar.
    out : (5, n) array
        ``poc``: middle of the row with the most volume; ``vah``, ``val``: upper and lower edge of the value area, quote
        currency. ``position``: where the close lies from ``val`` (0) to ``vah`` (1) in :math:`\ln p`, below 0 and
        above 1 outside. ``poc_distance``: :math:`\ln(close / poc)`. NaN until ``length`` bars were seen; in a window
        without volume the three prices are the close, ``position`` is 0.5 and ``poc_distance`` 0.

    Notes
    -----
    When a bar leaves, its row is summed anew over the bars that stay in it, oldest first: nothing is subtracted, and
    the sums are those of a cold start to the bit. That walk is all that grows with the number of bars in a row.
    """
    width = bin_bps * BASIS_POINT
    bars, profile = state[HEAD : HEAD + 3 * length], state[HEAD + 3 * length : HEAD + 6 * length]
    bar_row, bar_volume, bar_next = bars[:length], bars[length : 2 * length], bars[2 * length :]
    rows, sums, newest = profile[:length], profile[length : 2 * length], profile[2 * length :]
    at, seen, used = int(state[0]), int(state[1]), int(state[2])
    for i in range(close.shape[0]):
        top, bottom, price, traded = high[i], low[i], close[i], volume[i]
        for k in range(5):
            out[k, i] = math.nan
        if not (is_price(top) and is_price(bottom) and is_price(price) and is_volume(traded)):
            continue
        if seen < length:
            seen += 1
        elif bar_volume[at] > 0.0:
            row = row_at(rows, used, bar_row[at])
            if newest[row] == at:
                used -= 1
                for j in range(row, used):
                    rows[j], sums[j], newest[j] = rows[j + 1], sums[j + 1], newest[j + 1]
            else:
                slot, last, total = int(bar_next[at]), int(newest[row]), 0.0
                while slot != last:
                    total += bar_volume[slot]
                    slot = int(bar_next[slot])
                sums[row] = total + bar_volume[last]
        bar_volume[at] = traded
        if traded > 0.0:
            number = float(math.floor(math.log((top + bottom + price) / 3.0) / width))
            bar_row[at] = number
            row = row_at(rows, used, number)
            if row < used and rows[row] == number:
                bar_next[int(newest[row])] = at
                sums[row] += traded
            else:
                for j in range(used, row, -1):
                    rows[j], sums[j], newest[j] = rows[j - 1], sums[j - 1], newest[j - 1]
                used += 1
                rows[row], sums[row] = number, traded
            newest[row] = at
        at = at + 1 if at + 1 < length else 0
        if seen < length:
            continue
        if used == 0:
            out[0, i] = out[1, i] = out[2, i] = price
            out[3, i], out[4, i] = 0.5, 0.0
            continue
        peak, below, above = value_area(sums, used, area)
        center, lowest, highest = rows[peak] + 0.5, rows[below], rows[above] + 1.0
        place = math.log(price) / width
        out[0, i], out[1, i], out[2, i] = math.exp(center * width), math.exp(highest * width), math.exp(lowest * width)
        out[3, i] = (place - lowest) / (highest - lowest)
        out[4, i] = (place - center) * width
    state[0], state[1], state[2] = at, seen, used


@kernel
def row_at(rows: FloatArray, used: int, number: float) -> int:
    """Return the place among the ascending rows of the first one that is not below ``number``."""
    low, high = 0, used
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def value_area(sums: FloatArray, used: int, area: float) -> tuple[int, int, int]:
    """Return the places of the row with the most volume and of the lowest and the highest row of its value area."""
    peak, most, total = 0, 0.0, 0.0
    for j in range(used):
        held = sums[j]
        total += held
        if held > most:
            peak, most = j, held
    below, above, held, goal = peak, peak, most, area * total
    while held < goal and above - below + 1 < used:
        up = sums[above + 1] if above + 1 < used else -1.0
        down = sums[below - 1] if below > 0 else -1.0
        rise = up >= down  # selections instead of branches: which side it is cannot be predicted
        above += 1 if rise else 0
        below -= 0 if rise else 1
        held += up if rise else down
    return peak, below, above


SPEC = KernelSpec(
    name="volume_profile",
    kernel=volume_profile,
    inputs=("high", "low", "close", "volume"),
    params=(Param("length", 240, 1, 5_000), Param("bin_bps", 10.0, 0.1, 1_000.0), Param("area", 0.7, 0.05, 0.95)),
    outputs=("poc", "vah", "val", "position", "poc_distance"),
    state_size=lambda length, bin_bps, area: HEAD + 6 * length,
    lookback=lambda length, bin_bps, area: length,
    warmup=lambda length, bin_bps, area: length,
    warmup_rtol=0.0,
    unit="quote; share of the value area; logarithm of a ratio of prices",
    gap=GAP,
    reference="J. P. Steidlmayer, K. Koy, Markets and Market Logic, 1986",
)
