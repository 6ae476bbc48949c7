"""Purged k-fold and combinatorial purged cross-validation, as generators and as scikit-learn splitters.

It fits no model and makes no label. What overlaps, and what an embargo is: :mod:`research.validation.label_intervals`.
Groups are contiguous and as equal as :func:`numpy.array_split` makes them: the first ones take the rows left over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import IntArray
from research.validation.label_intervals import TEST, TRAIN, EmbargoFrom, LabelIntervals, check_embargo, intervals_of
from research.validation.splits import Fold

Split = tuple[IntArray, IntArray]
# A walk over more is no cross-validation: (22, 11) has 705,432 splits, (24, 12) 2.7 million.
MAX_SPLITS = 1_000_000


def group_bounds(n_rows: int, n_groups: int) -> IntArray:
    """Return where contiguous groups of rows begin and end, shape (n_groups + 1,).

    Examples
    --------
    >>> group_bounds(10, 3).tolist()
    [0, 4, 7, 10]
    """
    if not 2 <= n_groups <= n_rows:
        raise InvalidInput("n_groups", f"must lie in [2, rows = {n_rows}]", n_groups)
    whole, left = divmod(n_rows, n_groups)
    sizes = np.full(n_groups, whole, dtype=np.int64)
    sizes[:left] += 1
    return np.concatenate(([0], np.cumsum(sizes)))


def block_ranges(bounds: IntArray, groups: Sequence[int]) -> list[tuple[int, int]]:
    """Return the row ranges of groups under test, groups that touch as one.

    Examples
    --------
    >>> block_ranges(group_bounds(12, 4), [0, 1, 3])
    [(0, 6), (9, 12)]
    """
    blocks: list[tuple[int, int]] = []
    for group in sorted(groups):
        first, stop = int(bounds[group]), int(bounds[group + 1])
        if blocks and blocks[-1][1] == first:
            blocks[-1] = (blocks[-1][0], stop)
        else:
            blocks.append((first, stop))
    return blocks


def purged_train(
    label_end: ArrayLike | LabelIntervals,
    blocks: Sequence[tuple[int, int]],
    embargo: int = 0,
    label_start: ArrayLike | None = None,
    closed: bool = True,
    embargo_from: EmbargoFrom = "label_end",
) -> IntArray:
    """Return the rows that may train a model tested on blocks of rows, ascending; none may be left.

    Parameters
    ----------
    label_end, label_start, closed
        As :class:`LabelIntervals` takes them, or the intervals themselves.
    blocks, embargo, embargo_from
        As :meth:`LabelIntervals.roles` takes them.

    Raises
    ------
    InvalidInput
        As those do.

    References
    ----------
    .. [1] M. Lopez de Prado, Advances in Financial Machine Learning, Wiley 2018, sections 7.4.1 and 7.4.2. Its
       snippet 7.3 lets a label that ends on the test's first start train; the text, and this code, do not.

    Examples
    --------
    Labels of two bars: rows 2 and 3 read test rows, rows 6 and 7 are read by test labels, row 8 is under embargo.

    >>> purged_train(np.arange(10) + 2, [(4, 6)], embargo=1).tolist()
    [0, 1, 9]
    """
    labels = intervals_of(label_end, label_start, closed)
    return np.flatnonzero(labels.roles(blocks, embargo, embargo_from) == TRAIN)


def purged_kfold(
    label_end: ArrayLike | LabelIntervals,
    n_splits: int,
    embargo: int = 0,
    label_start: ArrayLike | None = None,
    closed: bool = True,
    embargo_from: EmbargoFrom = "label_end",
) -> Iterator[Split]:
    """Yield training and test rows, each of ``n_splits`` contiguous groups being the test once.

    Parameters
    ----------
    label_end, label_start, closed
        As :class:`LabelIntervals` takes them.
    n_splits : int
        At least 2.
    embargo, embargo_from
        As :meth:`LabelIntervals.roles` takes them.

    Yields
    ------
    train, test : arrays of int64
        Ascending.

    Raises
    ------
    InvalidInput
        If an argument is out of range, or nothing is left to train a fold on.

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in purged_kfold(np.arange(6) + 1, 3)]
    [([3, 4, 5], [0, 1]), ([0, 5], [2, 3]), ([0, 1, 2], [4, 5])]
    """
    labels = intervals_of(label_end, label_start, closed)
    _check_n_splits(n_splits, len(labels))
    return combinatorial_purged_splits(labels, n_splits, 1, embargo, embargo_from=embargo_from)


def combinatorial_purged_splits(
    label_end: ArrayLike | LabelIntervals,
    n_groups: int,
    n_test_groups: int,
    embargo: int = 0,
    label_start: ArrayLike | None = None,
    closed: bool = True,
    embargo_from: EmbargoFrom = "label_end",
) -> Iterator[Split]:
    """Yield training and test rows for every choice of test groups, in lexicographic order.

    Parameters
    ----------
    label_end, label_start, closed
        As :class:`LabelIntervals` takes them.
    n_groups : int
        Contiguous groups, at least 2.
    n_test_groups : int
        Groups tested at a time, 1 to ``n_groups - 1``.
    embargo, embargo_from
        As :meth:`LabelIntervals.roles` takes them.

    Yields
    ------
    train, test : arrays of int64
        Ascending; the test rows are the groups' one after the other, as :func:`stitch_paths` wants them.

    Raises
    ------
    InvalidInput
        If an argument is out of range, there are over a million splits, or nothing is left to train one on.

    References
    ----------
    .. [1] M. Lopez de Prado, Advances in Financial Machine Learning, Wiley 2018, section 12.4.
    """
    labels = intervals_of(label_end, label_start, closed)
    combinations = group_combinations(n_groups, n_test_groups)
    bounds = group_bounds(len(labels), n_groups)
    check_embargo(embargo, embargo_from)
    return _splits(labels, bounds, combinations, embargo, embargo_from)


def group_combinations(n_groups: int, n_test_groups: int) -> IntArray:
    """Return the groups that each split tests, shape (n_splits, n_test_groups), in lexicographic order.

    Examples
    --------
    >>> group_combinations(4, 2).tolist()
    [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    """
    if n_groups < 2:
        raise InvalidInput("n_groups", "must be at least 2", n_groups)
    if not 1 <= n_test_groups < n_groups:
        raise InvalidInput("n_test_groups", f"must lie in [1, n_groups - 1 = {n_groups - 1}]", n_test_groups)
    count = math.comb(n_groups, n_test_groups)
    if count > MAX_SPLITS:
        raise InvalidInput("n_groups", f"must give at most {MAX_SPLITS:,} splits; these are", count)
    flat = itertools.chain.from_iterable(itertools.combinations(range(n_groups), n_test_groups))
    return np.fromiter(flat, dtype=np.int64, count=count * n_test_groups).reshape(count, n_test_groups)


def walk_forward_splits(
    folds: Sequence[Fold], label_end: ArrayLike | LabelIntervals, label_start: ArrayLike | None = None
) -> Iterator[Split]:
    """Yield training and test rows of walk-forward folds, purged by label instead of by a fixed number of rows.

    Parameters
    ----------
    folds : sequence of Fold
        Their own ``purge`` and ``embargo`` rows stay out too; folds without a gap leave it to the labels.
    label_end, label_start
        As :class:`LabelIntervals` takes them, closed.

    Yields
    ------
    train, test : arrays of int64
        Ascending; ``test`` is the whole test window.

    Raises
    ------
    InvalidInput
        If a fold goes past the labels, or none of its training labels ends before its test.

    Examples
    --------
    >>> folds = [Fold(index=0, train_start=0, train_stop=4, test_start=4, test_stop=6, stitch_stop=6)]
    >>> [train.tolist() for train, _ in walk_forward_splits(folds, [1, 5, 3, 6, 5, 6])]
    [[0, 2]]
    """
    labels = intervals_of(label_end, label_start, True)
    for fold in folds:
        roles = labels.roles([(fold.test_start, fold.test_stop)])[fold.train]
        train = fold.train_start + np.flatnonzero(roles == TRAIN)
        if train.size == 0:
            raise InvalidInput(f"folds[{fold.index}]", "must have a training label that ends before the test", 0)
        yield train, np.arange(fold.test_start, fold.test_stop, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class CombinatorialPurgedKFold:
    """Combinatorial purged cross-validation, as scikit-learn takes splitters.

    Parameters
    ----------
    n_groups, n_test_groups, embargo
        As :func:`combinatorial_purged_splits` takes them.
    label_end, label_start, closed
        As :class:`LabelIntervals` takes them: one label per row of the X that is split.
    embargo_from : str
        ``label_end`` or ``block``.

    Raises
    ------
    InvalidInput
        As :func:`combinatorial_purged_splits` does, here as in :meth:`split`.

    Notes
    -----
    Each row is predicted in more than one split, so that ``cross_val_predict``, which wants a partition, refuses it:
    see :func:`research.validation.cv_paths.stitch_paths`.

    Examples
    --------
    >>> CombinatorialPurgedKFold(6, 2, embargo=1, label_end=np.arange(60) + 3).get_n_splits()
    15
    """

    n_groups: int
    n_test_groups: int
    embargo: int = 0
    label_end: ArrayLike | LabelIntervals = field(kw_only=True, repr=False)
    label_start: ArrayLike | None = field(default=None, kw_only=True, repr=False)
    closed: bool = field(default=True, kw_only=True)
    embargo_from: EmbargoFrom = field(default="label_end", kw_only=True)
    labels: LabelIntervals = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments and the labels once, not in every split."""
        object.__setattr__(self, "labels", intervals_of(self.label_end, self.label_start, self.closed))
        group_combinations(self.n_groups, self.n_test_groups)
        group_bounds(len(self.labels), self.n_groups)
        check_embargo(self.embargo, self.embargo_from)

    def split(self, X: object = None, y: object = None, groups: object = None) -> Iterator[Split]:
        """Yield training and test rows; of ``X`` only the length is looked at, ``y`` and ``groups`` are not."""
        _check_rows(X, len(self.labels))
        return combinatorial_purged_splits(
            self.labels, self.n_groups, self.n_test_groups, self.embargo, embargo_from=self.embargo_from
        )

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Return the number of splits; the arguments are scikit-learn's and are not looked at."""
        return math.comb(self.n_groups, self.n_test_groups)

    def roles(self) -> Iterator[NDArray[np.int8]]:
        """Yield what each row is to each split, as :meth:`LabelIntervals.roles` tells it."""
        bounds = group_bounds(len(self.labels), self.n_groups)
        for groups in group_combinations(self.n_groups, self.n_test_groups).tolist():
            yield self.labels.roles(block_ranges(bounds, groups), self.embargo, self.embargo_from)


@dataclass(frozen=True, eq=False)
class PurgedKFold:
    """Purged k-fold cross-validation with an embargo, as scikit-learn takes splitters.

    Parameters
    ----------
    n_splits, embargo
        As :func:`purged_kfold` takes them.
    label_end, label_start, closed
        As :class:`LabelIntervals` takes them: one label per row of the X that is split.
    embargo_from : str
        ``label_end`` or ``block``.

    Raises
    ------
    InvalidInput
        As :func:`purged_kfold` does, here as in :meth:`split`.

    Examples
    --------
    >>> splitter = PurgedKFold(3, embargo=1, label_end=np.arange(9) + 1)
    >>> [train.tolist() for train, _ in splitter.split(np.zeros((9, 2)))]
    [[5, 6, 7, 8], [0, 1, 8], [0, 1, 2, 3, 4]]
    """

    n_splits: int = 5
    embargo: int = 0
    label_end: ArrayLike | LabelIntervals = field(kw_only=True, repr=False)
    label_start: ArrayLike | None = field(default=None, kw_only=True, repr=False)
    closed: bool = field(default=True, kw_only=True)
    embargo_from: EmbargoFrom = field(default="label_end", kw_only=True)
    _inner: CombinatorialPurgedKFold = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments and the labels once: k-fold is the combinatorial one with one test group."""
        labels = intervals_of(self.label_end, self.label_start, self.closed)
        _check_n_splits(self.n_splits, len(labels))
        inner = CombinatorialPurgedKFold(
            self.n_splits, 1, self.embargo, label_end=labels, embargo_from=self.embargo_from
        )
        object.__setattr__(self, "_inner", inner)

    def split(self, X: object = None, y: object = None, groups: object = None) -> Iterator[Split]:
        """Yield training and test rows; of ``X`` only the length is looked at, ``y`` and ``groups`` are not."""
        return self._inner.split(X)

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """Return the number of splits; the arguments are scikit-learn's and are not looked at."""
        return self.n_splits

    def roles(self) -> Iterator[NDArray[np.int8]]:
        """Yield what each row is to each split, as :meth:`LabelIntervals.roles` tells it."""
        return self._inner.roles()


def _splits(
    labels: LabelIntervals, bounds: IntArray, combinations: IntArray, embargo: int, embargo_from: EmbargoFrom
) -> Iterator[Split]:
    for groups in combinations.tolist():
        roles = labels.roles(block_ranges(bounds, groups), embargo, embargo_from)
        train = np.flatnonzero(roles == TRAIN)
        if train.size == 0:
            rule = "must leave a row to train on: labels are too long, or the embargo is, for groups this small"
            raise InvalidInput(f"split with test groups {groups}", rule, 0)
        yield train, np.flatnonzero(roles == TEST)


def _check_n_splits(n_splits: int, n_rows: int) -> None:
    if not 2 <= n_splits <= n_rows:
        raise InvalidInput("n_splits", f"must lie in [2, rows = {n_rows}]", n_splits)


def _check_rows(X: object, n_rows: int) -> None:
    given = n_rows if X is None else X.shape[0] if hasattr(X, "shape") else len(X)  # type: ignore[arg-type]
    if given != n_rows:
        raise InvalidInput("X", f"must have a row per label, {n_rows}", given)
