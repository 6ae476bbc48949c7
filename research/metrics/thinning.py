"""Fewer points of a long series, its extremes kept, for what is drawn; no figure is computed from them."""

from __future__ import annotations

import numpy as np

from research.kernel import FloatArray, IntArray


def thinned(values: FloatArray, limit: int) -> IntArray:
    """Return increasing indices of the lowest and highest value of every stretch, and of both ends.

    Parameters
    ----------
    values : (n,) array of float64
        A stretch without a finite value keeps its first index.
    limit : int
        At least 2; up to this many values all are kept.

    Returns
    -------
    (m,) array of int64
        At most ``limit + 2`` of them.

    Examples
    --------
    >>> thinned(np.array([1.0, 5.0, 2.0, 0.0, 3.0, 4.0]), 4).tolist()
    [0, 1, 3, 5]
    """
    n = values.size
    if n <= limit:
        return np.arange(n)
    width = -(-n // max(1, limit // 2))
    first = np.arange(0, n, width)
    padded = np.full(first.size * width, np.nan)
    padded[:n] = values
    stretches = padded.reshape(-1, width)
    known = np.isfinite(stretches)
    lowest = np.where(known, stretches, np.inf).argmin(axis=1)
    highest = np.where(known, stretches, -np.inf).argmax(axis=1)
    return np.unique(np.concatenate(([0, n - 1], first + lowest, first + highest)))
