"""How much of its equity an account held in positions, bar by bar; it sizes nothing."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from research.kernel import FloatArray, IntArray, kernel
from research.metrics.returns import for_kernel


@kernel
def walk_positions(bar: IntArray, leg: IntArray, after: FloatArray, held: FloatArray) -> None:
    """Fill ``held`` (S, n) with the position of each leg at each bar's close."""
    n_legs, n = held.shape
    now = np.zeros(n_legs)
    k = 0
    for i in range(n):
        while k < bar.shape[0] and bar[k] <= i:
            now[leg[k]] = after[k]
            k += 1
        for j in range(n_legs):
            held[j, i] = now[j]


def positions_at_closes(bar: IntArray, leg: IntArray, after: FloatArray, n_legs: int, n_bars: int) -> FloatArray:
    """Return the signed position of each leg after each bar's close, base units.

    Parameters
    ----------
    bar, leg : (k,) arrays of int64
        Of each fill; bars do not decrease.
    after : (k,) array of float64
        Position of the leg after the fill, base units, exact.
    n_legs, n_bars : int
        Shape of what is returned.

    Returns
    -------
    (n_legs, n_bars) array of float64

    Examples
    --------
    >>> positions_at_closes(np.array([1, 1, 3]), np.array([0, 0, 0]), np.array([2.0, 5.0, 0.0]), 1, 4).tolist()
    [[0.0, 5.0, 5.0, 0.0]]
    """
    held = np.empty((n_legs, n_bars))
    walk_positions(for_kernel(bar, np.int64), for_kernel(leg, np.int64), for_kernel(after, np.float64), held)
    return held


class Exposures(NamedTuple):
    """What an account held over its equity, at each close.

    Parameters
    ----------
    gross, net : (n,) arrays of float64
        Value of all positions, and of the long ones less the short ones, as fractions of equity; 0 without a
        position, NaN where equity is not positive or a held leg has had no close.
    bars_held : int
        Bars at whose close some leg had a position.
    mean_gross : float
        Mean of ``gross`` where it is known; NaN where it never is.
    """

    gross: FloatArray
    net: FloatArray
    bars_held: int
    mean_gross: float


@kernel
def walk_exposure(
    bar: IntArray, leg: IntArray, after: FloatArray, close: FloatArray, equity: FloatArray,
    gross: FloatArray, net: FloatArray,
) -> tuple[int, int, float]:  # fmt: skip
    """Fill ``gross`` and ``net``, unless they are empty; return bars with a position, with a known exposure, its sum.

    Two arrays of a million bars take as long to be given by the system as everything that is computed here.
    """
    n_legs, n = close.shape
    writes = gross.shape[0] == n
    now, price = np.zeros(n_legs), np.full(n_legs, np.nan)
    k, n_held, bars_held, known, total = 0, 0, 0, 0, 0.0
    start = 0
    while start < n:
        while k < bar.shape[0] and bar[k] <= start:
            n_held += int(after[k] != 0.0) - int(now[leg[k]] != 0.0)
            now[leg[k]] = after[k]
            k += 1
        stop = min(bar[k], n) if k < bar.shape[0] else n  # up to there nothing changes
        if n_held == 0:
            for j in range(n_legs):
                i = stop - 1
                while i >= start and close[j, i] != close[j, i]:
                    i -= 1
                if i >= start:
                    price[j] = close[j, i]
            if writes:
                gross[start:stop] = 0.0
                net[start:stop] = 0.0
            known += stop - start
            start = stop
            continue
        bars_held += stop - start
        if n_legs == 1 and not writes:  # the same figures, with nothing but numbers in the loop
            qty, last = abs(now[0]), price[0]
            for i in range(start, stop):
                if close[0, i] == close[0, i]:
                    last = close[0, i]
                both = qty * last / equity[i]
                if equity[i] > 0.0 and both == both:
                    known += 1
                    total += both
            price[0] = last
            start = stop
            continue
        for i in range(start, stop):
            long = short = 0.0
            for j in range(n_legs):
                if close[j, i] == close[j, i]:
                    price[j] = close[j, i]
                if now[j] > 0.0:
                    long += now[j] * price[j]
                elif now[j] < 0.0:
                    short -= now[j] * price[j]
            worth = equity[i] if equity[i] > 0.0 else np.nan
            both = (long + short) / worth
            if writes:
                gross[i], net[i] = both, (long - short) / worth
            if both == both:
                known += 1
                total += both
        start = stop
    return bars_held, known, total


def exposures(bar: IntArray, leg: IntArray, after: FloatArray, close: FloatArray, equity: FloatArray) -> Exposures:
    """Return what an account held at each close over its equity, and for how many bars it held anything.

    Parameters
    ----------
    bar, leg, after : (k,) arrays
        As :func:`positions_at_closes` takes them.
    close : (n,) or (S, n) array of float64
        Per leg; in a gap (NaN) the last close before it stands.
    equity : (n,) array of float64
        After each bar's close, quote currency.

    Examples
    --------
    >>> fills = np.array([0, 1]), np.array([0, 1]), np.array([1.0, -2.0])
    >>> found = exposures(*fills, np.array([[50.0, 50.0], [10.0, 10.0]]), np.array([100.0, 100.0]))
    >>> found.gross.tolist(), found.net.tolist(), found.bars_held, found.mean_gross
    ([0.5, 0.7], [0.5, 0.3], 2, 0.6)
    """
    n = np.shape(close)[-1]
    gross, net = np.empty(n), np.empty(n)
    held, mean = _walk(bar, leg, after, close, equity, gross, net)
    return Exposures(gross, net, held, mean)


def mean_exposure(
    bar: IntArray, leg: IntArray, after: FloatArray, close: FloatArray, equity: FloatArray
) -> tuple[int, float]:
    """Return ``bars_held`` and ``mean_gross`` of :func:`exposures` alone, in less than half its time."""
    return _walk(bar, leg, after, close, equity, np.empty(0), np.empty(0))


def _walk(
    bar: IntArray, leg: IntArray, after: FloatArray, close: FloatArray, equity: FloatArray,
    gross: FloatArray, net: FloatArray,
) -> tuple[int, float]:  # fmt: skip
    closes = for_kernel(np.atleast_2d(close), np.float64)
    fills = for_kernel(bar, np.int64), for_kernel(leg, np.int64), for_kernel(after, np.float64)
    held, known, total = walk_exposure(*fills, closes, for_kernel(equity, np.float64), gross, net)
    return int(held), total / known if known else math.nan
