"""How far the price went against and in favour of a position while it was held; it knows no order and no cost."""

from __future__ import annotations

import numpy as np

from research.kernel import FloatArray, IntArray, kernel
from research.metrics.returns import for_kernel


@kernel
def walk_excursions(
    leg: IntArray, entry_bar: IntArray, exit_bar: IntArray, side: IntArray, entry_price: FloatArray,
    high: FloatArray, low: FloatArray, against: FloatArray, favour: FloatArray,
) -> None:  # fmt: skip
    """Fill ``against`` and ``favour``; each bar is read once for all exits of one position."""
    n_legs, n = high.shape
    start, stop = np.full(n_legs, -1), np.full(n_legs, -1)  # of the stretch that highest and lowest cover
    highest, lowest = np.full(n_legs, -np.inf), np.full(n_legs, np.inf)
    for k in range(leg.shape[0]):
        j = leg[k]
        if start[j] != entry_bar[k] or stop[j] > exit_bar[k] + 1:
            start[j] = stop[j] = entry_bar[k]
            highest[j], lowest[j] = -np.inf, np.inf
        for i in range(stop[j], min(exit_bar[k] + 1, n)):
            if high[j, i] > highest[j]:  # false where it is NaN
                highest[j] = high[j, i]
            if low[j, i] < lowest[j]:
                lowest[j] = low[j, i]
        stop[j] = exit_bar[k] + 1
        if highest[j] == -np.inf or lowest[j] == np.inf:
            against[k] = favour[k] = np.nan
        else:
            up, down = highest[j] / entry_price[k] - 1.0, 1.0 - lowest[j] / entry_price[k]
            against[k] = max(0.0, down if side[k] > 0 else up)
            favour[k] = max(0.0, up if side[k] > 0 else down)


def excursions(
    leg: IntArray, entry_bar: IntArray, exit_bar: IntArray, side: IntArray, entry_price: FloatArray,
    high: FloatArray, low: FloatArray,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """Return the maximum adverse and the maximum favourable excursion of positions.

    Parameters
    ----------
    leg, entry_bar, exit_bar, side : (k,) arrays of int64
        As :data:`research.metrics.TRADES` and :data:`research.metrics.ROUND_TRIPS` have them, in the order of their
        exits; bars are indices into ``high`` and ``low``.
    entry_price : (k,) array of float64
        Average entry, quote per base.
    high, low : (n,) or (S, n) arrays of float64
        Of the bars, per leg; NaN in gaps, which are passed over.

    Returns
    -------
    against, favour : (k,) arrays of float64
        Fractions of the entry price, at least 0: how far the lowest low of a long position (the highest high of a
        short one) lay beyond its entry, and the other way round. The bars of the entry and of the exit are counted
        **whole**: what they reached before the entry or after the exit is in it, so that both are upper bounds, and
        the tighter the longer the position was held. NaN where no bar is known.

    References
    ----------
    .. [1] J. Sweeney, "Maximum Adverse Excursion", 1997.

    Examples
    --------
    >>> high, low = np.array([101.0, 104.0, 103.0]), np.array([99.0, 100.0, 96.0])
    >>> one = [np.array([k]) for k in (0, 0, 2, 1)]
    >>> against, favour = excursions(*one, np.array([100.0]), high, low)
    >>> against.round(12).tolist(), favour.round(12).tolist()
    ([0.04], [0.04])
    """
    against, favour = np.empty(leg.shape), np.empty(leg.shape)
    legs, entries, exits, sides = (for_kernel(x, np.int64) for x in (leg, entry_bar, exit_bar, side))
    prices, highs, lows = (for_kernel(x, np.float64) for x in (entry_price, np.atleast_2d(high), np.atleast_2d(low)))
    walk_excursions(legs, entries, exits, sides, prices, highs, lows, against, favour)
    return against, favour
