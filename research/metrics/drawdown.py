"""Drawdowns of one equity curve, as fractions of the peak before; it knows no trade."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import FloatArray, kernel
from research.metrics.returns import finite_series, for_kernel

# One row per drawdown: fields as those of :class:`Drawdown`.
DRAWDOWNS = np.dtype([("depth", "f8"), ("peak", "i8"), ("trough", "i8"), ("recovery", "i8")])


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest drawdown of a curve.

    Parameters
    ----------
    depth : float
        Fraction of the peak, at most 0; below -1 where more than everything was lost.
    peak, trough : int
        Indices into the curve; both 0 when it never fell.
    recovery : int
        First index at or above the peak again, -1 if there is none.
    """

    depth: float
    peak: int
    trough: int
    recovery: int


def drawdown(equity: ArrayLike) -> FloatArray:
    """Return the distance below the highest equity so far.

    Parameters
    ----------
    equity : (n,) array_like
        Quote currency, beginning with the equity **before** the first bar, which is the first peak: a curve that
        begins after a first loss would hide it.

    Returns
    -------
    (n,) array of float64
        Fractions, at most 0; -0.1 is ten percent below the peak.

    Raises
    ------
    InvalidInput
        If a value is not finite or the first one is not positive.

    Examples
    --------
    >>> drawdown([100.0, 90.0, 120.0, 60.0]).tolist()
    [0.0, -0.1, 0.0, -0.5]
    """
    values = finite_series(equity, "equity")
    if values.size and values[0] <= 0:
        raise InvalidInput("equity[0]", "must be positive", float(values[0]))
    peak = np.maximum.accumulate(values)
    return (values - peak) / peak


def deepest_drawdown(equity: ArrayLike) -> Drawdown:
    """Return where the deepest drawdown began, bottomed and ended; the first of equals.

    Examples
    --------
    >>> deepest_drawdown([100.0, 80.0, 90.0, 101.0])
    Drawdown(depth=-0.2, peak=0, trough=1, recovery=3)
    """
    values = finite_series(equity, "equity")
    below = drawdown(values)
    if below.size == 0:
        return Drawdown(math.nan, 0, 0, -1)
    trough = int(below.argmin())
    if below[trough] == 0.0:
        return Drawdown(0.0, 0, 0, 0)
    peak = int(np.flatnonzero(below[:trough] == 0.0)[-1])
    recovered = np.flatnonzero(values[trough:] >= values[peak])
    return Drawdown(float(below[trough]), peak, trough, trough + int(recovered[0]) if recovered.size else -1)


@kernel
def find_drawdowns(equity: FloatArray, found: NDArray[Any]) -> int:
    """Write every drawdown of a curve, as many as ``found`` has rows; return how many there are."""
    count, peak_at, is_under = 0, 0, False
    for i in range(equity.shape[0]):
        if equity[i] >= equity[peak_at]:
            if is_under and count <= found.shape[0]:
                found[count - 1]["recovery"] = i
            peak_at, is_under = i, False
            continue
        if not is_under:
            count, is_under = count + 1, True
        if count <= found.shape[0]:
            below = (equity[i] - equity[peak_at]) / equity[peak_at]
            row = found[count - 1]
            if below < row["depth"]:
                row["depth"], row["peak"], row["trough"], row["recovery"] = below, peak_at, i, -1
    return count


def drawdowns(equity: ArrayLike) -> NDArray[Any]:
    """Return every drawdown of a curve: each stretch below a peak, up to where the peak is reached again.

    Parameters
    ----------
    equity : (n,) array_like
        As for :func:`drawdown`, with the equity before the first bar as its first entry.

    Returns
    -------
    (m,) array of DRAWDOWNS
        In order of time. ``peak`` is the last bar at the peak, ``recovery`` -1 in one that has not ended.

    Examples
    --------
    >>> drawdowns([100.0, 90.0, 95.0, 100.0, 80.0])["depth"].tolist()
    [-0.1, -0.2]
    """
    values = finite_series(equity, "equity")
    if values.size and values[0] <= 0:
        raise InvalidInput("equity[0]", "must be positive", float(values[0]))
    values = for_kernel(values, np.float64)
    found = np.zeros(find_drawdowns(values, np.zeros(0, DRAWDOWNS)), DRAWDOWNS)
    find_drawdowns(values, found)
    return found


def max_drawdown(equity: ArrayLike) -> float:
    """Return the depth of the deepest drawdown, a fraction of at most 0; NaN without equity."""
    below = drawdown(equity)
    return float(below.min()) if below.size else math.nan


def longest_drawdown_bars(equity: ArrayLike) -> int:
    """Return the most consecutive bars spent below a peak; the bar of recovery is not one of them.

    Examples
    --------
    >>> longest_drawdown_bars([100.0, 90.0, 95.0, 100.0, 99.0])
    2
    """
    under = drawdown(equity) < 0.0
    edges = np.flatnonzero(np.diff(np.concatenate(([False], under, [False])).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if edges.size else 0


def ulcer_index(equity: ArrayLike, *, includes_start: bool = True) -> float:
    """Return the root mean square of the drawdown, a fraction; NaN without a bar.

    Parameters
    ----------
    equity : (n,) array_like
        As for :func:`drawdown`.
    includes_start : bool
        Whether the first entry is the equity before the first bar, which is then not counted as a bar.
    """
    below = drawdown(equity)[int(includes_start) :]
    return float(np.sqrt(np.mean(np.square(below)))) if below.size else math.nan
