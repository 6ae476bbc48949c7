"""One side of an order book: price levels in a sorted array, the best last. It knows no time.

A level's key is its price in ticks for bids and the negative of it for asks: the greater key is the better price on
both sides, and most updates move few levels, as they touch the end of the array.
"""

from __future__ import annotations

from research.kernel import kernel


@kernel
def set_level(keys, sizes, count, key, size):
    """Set, add or remove a level.

    Parameters
    ----------
    keys : (capacity,) array of int64
        Increasing in ``keys[:count]``.
    sizes : (capacity,) array of float64
        Size of each level.
    count : int
        Levels held.
    key : int
        Of the level.
    size : float
        New size; 0 removes the level, and nothing happens where there is none.

    Returns
    -------
    count : int
        Levels held now.
    dropped : int
        1 where the array was full, so that the worst level, or this one if it is worse, was left out.

    Notes
    -----
    Measured on recorded books of 1,200 to 5,200 levels per side: 130 to 320 ns per row, most of it the shift of some
    500 levels at a time that an exchange's far levels cost.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < count and keys[low] == key:
        if size > 0.0:
            sizes[low] = size
            return count, 0
        for j in range(low, count - 1):
            keys[j] = keys[j + 1]
            sizes[j] = sizes[j + 1]
        return count - 1, 0
    if size <= 0.0:
        return count, 0
    if count < keys.shape[0]:
        for j in range(count, low, -1):
            keys[j] = keys[j - 1]
            sizes[j] = sizes[j - 1]
        keys[low] = key
        sizes[low] = size
        return count + 1, 0
    if low > 0:
        for j in range(low - 1):
            keys[j] = keys[j + 1]
            sizes[j] = sizes[j + 1]
        keys[low - 1] = key
        sizes[low - 1] = size
    return count, 1


@kernel
def sum_of_best(sizes, count, depth):
    """Return the summed size of the best ``depth`` levels, or of all where there are fewer; the best is added first."""
    total = 0.0
    for j in range(count - 1, max(count - depth, 0) - 1, -1):
        total += sizes[j]
    return total


@kernel
def find_wall(sizes, count, levels, factor):
    r"""Return the index of the wall among the best levels, -1 where there is none.

    .. math:: s_w = \max_{j \le n} s_j \ge \frac{f}{n} \sum_{j \le n} s_j

    Parameters
    ----------
    sizes : (capacity,) array of float64
        Size of each level, the best last.
    count : int
        Levels held.
    levels : int
        n, the best levels that are looked at; all where there are fewer.
    factor : float
        f, how many times the average size a wall has at least. The wall is part of the average.

    Notes
    -----
    Of two levels of one size the better one is taken.
    """
    first = max(count - levels, 0)
    total, largest, at = 0.0, 0.0, -1
    for j in range(count - 1, first - 1, -1):
        total += sizes[j]
        if sizes[j] > largest:
            largest, at = sizes[j], j
    if at >= 0 and largest >= factor * (total / (count - first)):
        return at
    return -1
