"""Label intervals, and what each row is to a test on some of them: train, purged or under embargo. It cuts no folds.

Three things are settled here, since published code differs in each of them:

purge
    A row whose label overlaps the label of a test row does not train. Labels are closed intervals: one that ends
    where another starts overlaps it (``closed=False`` lets it pass).
embargo
    Counted in bars after the **last label end** of each contiguous block of test rows, on top of the purge
    (``embargo_from="block"`` counts from the block's last row, so that the embargo can lie within the purge).
bar
    Rows whose labels start together are one bar: where several symbols share a clock, an embargo of 5 is 5 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput
from research.kernel import IntArray

EmbargoFrom = Literal["label_end", "block"]
# What a split makes of a row; the figure and the index arrays are read from the same array.
ROLES = ("train", "embargo", "purged", "test")
TRAIN, EMBARGO, PURGED, TEST = range(4)


@dataclass(frozen=True, eq=False)
class LabelIntervals:
    """When the label of each row starts and ends.

    Parameters
    ----------
    end : (n,) array of int64 or datetimes
        Last row or time (ns) that each label reads; not before its start. It may lie after the last row.
    start : (n,) array of int64 or datetimes, optional
        First row or time that each label reads, in the unit of ``end``, not decreasing; several rows may share one
        (many symbols). Without it row i starts at i.
    closed : bool
        A label reads its end too. Without that, each must end after its start. Intervals handed over where label ends
        are asked for keep their own starts and ends, and this.

    Raises
    ------
    InvalidInput
        If the two differ in length or unit, a label ends before it starts, or starts decrease.
    """

    end: IntArray
    start: IntArray = None  # type: ignore[assignment]
    closed: bool = True
    _latest: IntArray = field(init=False, repr=False)
    _bar: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the labels, and note what every split needs of them."""
        end = _clock("label_end", self.end)
        given = np.arange(end.size, dtype=np.int64) if self.start is None else _clock("label_start", self.start)
        if self.start is None and np.asarray(self.end).dtype.kind == "M":
            raise InvalidInput("label_start", "must be given where label_end holds times", None)
        if given.size != end.size or end.size == 0:
            raise InvalidInput(
                "label_start", f"must have as many rows as label_end ({end.size}), at least 1", given.size
            )
        wrong = np.flatnonzero(end < given if self.closed else end <= given)
        if wrong.size:
            rule = f"must not lie before label_start = {given[wrong[0]]}" + ("" if self.closed else ", nor on it")
            raise InvalidInput(f"label_end[{wrong[0]}]", rule, int(end[wrong[0]]))
        steps = np.diff(given)
        if (steps < 0).any():
            i = int(np.flatnonzero(steps < 0)[0]) + 1
            raise InvalidInput(f"label_start[{i}]", f"must not lie before the row above, {given[i - 1]}", int(given[i]))
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "start", given)
        object.__setattr__(self, "_latest", np.maximum.accumulate(end))
        object.__setattr__(self, "_bar", np.concatenate(([0], np.cumsum(steps > 0))))

    def __len__(self) -> int:
        return int(self.end.size)

    def roles(
        self, blocks: Sequence[tuple[int, int]], embargo: int = 0, embargo_from: EmbargoFrom = "label_end"
    ) -> NDArray[np.int8]:
        """Return what each row is to a test on blocks of rows, shape (n,): an index into :data:`ROLES`.

        Parameters
        ----------
        blocks : sequence of (start, stop)
            Half-open ranges of test rows, ascending and apart. Of two that touch, the second decides.
        embargo : int
            Bars (distinct label starts: rows, where no two share one) that do not train after each block.
        embargo_from : str
            ``label_end``: after the last label end of the block; ``block``: after the start of its last row.

        Raises
        ------
        InvalidInput
            If a block does not lie within the rows, or the embargo is negative or counted from elsewhere.

        Notes
        -----
        Exact, without looking at pairs. A row before a block overlaps one of its labels if and only if it ends at or
        after the block's first start: starts ascend. A row after it does if and only if it starts at or before the
        block's last label end.
        """
        check_embargo(embargo, embargo_from)
        found = np.zeros(len(self), dtype=np.int8)
        after = []
        for first, stop in blocks:
            if not 0 <= first < stop <= len(self):
                raise InvalidInput("blocks", f"must lie within [0, {len(self)}] and not be empty", (first, stop))
            last_end = self.end[first:stop].max()
            after.append(int(np.searchsorted(self.start, last_end, side="right" if self.closed else "left")))
        # From the weakest claim on a row to the strongest: what is purged is never told to be under embargo alone.
        for (_, stop), purged_to in zip(blocks, after, strict=True):
            counted_from = purged_to if embargo_from == "label_end" else stop
            embargo_to = np.searchsorted(self._bar, self._bar[counted_from - 1] + embargo, side="right")
            found[stop:embargo_to] = EMBARGO
        for (first, stop), purged_to in zip(blocks, after, strict=True):
            found[stop:purged_to] = PURGED
            begin = self.start[first]
            side: Literal["left", "right"] = "left" if self.closed else "right"
            low = int(np.searchsorted(self._latest, begin, side=side))  # no row before it ends late enough
            before = self.end[low:first]
            found[low:first][before >= begin if self.closed else before > begin] = PURGED
        for first, stop in blocks:
            found[first:stop] = TEST
        return found


def intervals_of(label_end: ArrayLike | LabelIntervals, label_start: ArrayLike | None, closed: bool) -> LabelIntervals:
    """Return label intervals as they are, or made of their ends and starts."""
    if isinstance(label_end, LabelIntervals):
        return label_end
    return LabelIntervals(label_end, label_start, closed)  # type: ignore[arg-type]


def check_embargo(embargo: int, embargo_from: str) -> None:
    """Refuse an embargo that is no whole number of bars, and a place to count it from that is unknown."""
    if isinstance(embargo, bool) or not isinstance(embargo, (int, np.integer)) or embargo < 0:
        raise InvalidInput("embargo", "must be a whole number of bars, at least 0", embargo)
    if embargo_from not in get_args(EmbargoFrom):
        raise InvalidInput("embargo_from", f"must be one of {', '.join(get_args(EmbargoFrom))}", embargo_from)


def _clock(subject: str, given: ArrayLike) -> IntArray:
    """Return rows as int64, or datetimes as int64 nanoseconds."""
    array = np.asarray(given)
    if array.ndim != 1 or array.dtype.kind not in "iuM":
        raise InvalidInput(subject, "must be a series of whole numbers or datetimes", f"{array.dtype} {array.shape}")
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise InvalidInput(subject, "must have a time in every row", "NaT")
        array = array.astype("datetime64[ns]")
    return array.astype(np.int64)
