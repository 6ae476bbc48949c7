"""Backtest paths out of combinatorial purged cross-validation. It makes no split and measures no path.

Every group of rows is tested in several splits. The p-th path takes from each group the p-th split that tests it
(Lopez de Prado 2018, Fig. 12.2), so that a path covers all rows once and every test of a split is used once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import IntArray
from research.validation.purged_splits import group_bounds, group_combinations


@dataclass(frozen=True, slots=True)
class CpcvCounts:
    """How many splits there are, and how many paths they make.

    Parameters
    ----------
    splits : int
        Models to train, C(N, k).
    paths : int
        k / N of that: C(N - 1, k - 1).
    """

    splits: int
    paths: int


def cpcv_counts(n_groups: int, n_test_groups: int) -> CpcvCounts:
    """Return the number of splits and of paths.

    Parameters
    ----------
    n_groups : int
        N, at least 2.
    n_test_groups : int
        k, 1 to N - 1.

    Raises
    ------
    InvalidInput
        If one is out of range.

    References
    ----------
    .. [1] M. Lopez de Prado, Advances in Financial Machine Learning, Wiley 2018, section 12.3.

    Examples
    --------
    >>> cpcv_counts(6, 2), cpcv_counts(10, 8)
    (CpcvCounts(splits=15, paths=5), CpcvCounts(splits=45, paths=36))
    """
    if n_groups < 2:
        raise InvalidInput("n_groups", "must be at least 2", n_groups)
    if not 1 <= n_test_groups < n_groups:
        raise InvalidInput("n_test_groups", f"must lie in [1, n_groups - 1 = {n_groups - 1}]", n_test_groups)
    return CpcvCounts(math.comb(n_groups, n_test_groups), math.comb(n_groups - 1, n_test_groups - 1))


def path_assignment(n_groups: int, n_test_groups: int) -> IntArray:
    """Return the split that each path takes each group from, shape (n_groups, n_paths).

    Parameters
    ----------
    n_groups, n_test_groups
        As :func:`cpcv_counts` takes them. Splits are numbered in lexicographic order of their test groups.

    Raises
    ------
    InvalidInput
        If one is out of range, or there are over a million splits.

    Examples
    --------
    >>> path_assignment(4, 2).tolist()
    [[0, 1, 2], [0, 3, 4], [1, 3, 5], [2, 4, 5]]
    """
    tested = group_combinations(n_groups, n_test_groups)
    split = np.repeat(np.arange(tested.shape[0]), n_test_groups)
    # Stable: within a group splits stay in their order. Every group is in as many splits.
    return split[np.argsort(tested.ravel(), kind="stable")].reshape(n_groups, -1)


def stitch_paths(
    outcomes: Sequence[ArrayLike],
    n_rows: int,
    n_groups: int,
    n_test_groups: int,
    paths: Sequence[int] | None = None,
) -> NDArray[Any]:
    """Return every path's series over all rows, put together from what each split gave for its test rows.

    Parameters
    ----------
    outcomes : sequence of (n_test, ...) arrays
        Per split, in the order of :func:`combinatorial_purged_splits`: predictions, positions or returns of its test
        rows, in their order.
    n_rows : int
        Rows that were split.
    n_groups, n_test_groups : int
        As the splits were made.
    paths : sequence of int, optional
        Which to return; all without it. All together are as large as all outcomes.

    Returns
    -------
    (n_paths, n_rows, ...) array
        In the outcomes' type.

    Raises
    ------
    InvalidInput
        If there is not one outcome per split with one row per test row, or a path does not exist.

    Notes
    -----
    The paths are as many views of one history and not as many histories: they share their market, and the distribution
    of a statistic over them is narrower than its sampling error.

    Examples
    --------
    >>> stitch_paths([[10, 11], [20, 22], [31, 32]], n_rows=3, n_groups=3, n_test_groups=2).tolist()
    [[10, 11, 22], [20, 31, 32]]
    """
    counts = cpcv_counts(n_groups, n_test_groups)
    bounds, assigned = group_bounds(n_rows, n_groups), path_assignment(n_groups, n_test_groups)
    wanted = list(range(counts.paths)) if paths is None else [int(path) for path in paths]
    missing = [path for path in wanted if not 0 <= path < counts.paths]
    if missing:
        raise InvalidInput("paths", f"must lie in [0, {counts.paths - 1}]", missing[0])
    if len(outcomes) != counts.splits:
        raise InvalidInput("outcomes", f"must have one entry per split, {counts.splits}", len(outcomes))
    tested = group_combinations(n_groups, n_test_groups)
    sizes = np.diff(bounds)[tested]
    begins = np.cumsum(sizes, axis=1) - sizes
    arrays = [np.asarray(outcome) for outcome in outcomes]
    for split, (array, rows) in enumerate(zip(arrays, sizes.sum(axis=1), strict=True)):
        if array.ndim == 0 or array.shape != (rows, *arrays[0].shape[1:]):
            shape = (int(rows), *arrays[0].shape[1:])
            raise InvalidInput(f"outcomes[{split}]", f"must have the shape of its test rows, {shape}", array.shape)
    out = np.empty((len(wanted), n_rows, *arrays[0].shape[1:]), dtype=np.result_type(*{a.dtype for a in arrays}))
    for group in range(n_groups):
        rows = slice(bounds[group], bounds[group + 1])
        for row, path in enumerate(wanted):
            split = int(assigned[group, path])
            place = int(np.searchsorted(tested[split], group))
            begin = begins[split, place]
            out[row, rows] = arrays[split][begin : begin + sizes[split, place]]
    return out
