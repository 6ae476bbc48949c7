"""Rows that a model may learn from, and what was left out. It computes neither features nor labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray
from research.labels.forward import label_end


@dataclass(frozen=True, slots=True)
class Dataset:
    """Complete rows of features with their labels, in time order.

    Parameters
    ----------
    X : (n, k) array of float64
        Features, finite.
    columns : tuple of str
        Their names.
    y : (n,) array of float64
        Labels, finite.
    ts : (n,) array of int64
        Open time of the row's bar, ns UTC, increasing.
    label_end : (n,) array of int64
        Open time of the last bar whose close the label reads, ns UTC.
    dropped_features, dropped_labels : int
        Rows left out because a feature was not finite; rows left out of the remainder because the label was not.
    """

    X: FloatArray
    columns: tuple[str, ...]
    y: FloatArray
    ts: IntArray
    label_end: IntArray
    dropped_features: int
    dropped_labels: int

    @property
    def n_rows(self) -> int:
        """Rows kept."""
        return self.y.size

    def known_before(self, ts_ns: int) -> Dataset:
        """Return the rows whose label had ended before a time: what a model tested from there may learn from.

        The interval is closed: a label that reads the bar that opens at ``ts_ns`` is left out.
        """
        keep = self.label_end < ts_ns
        return Dataset(
            self.X[keep], self.columns, self.y[keep], self.ts[keep], self.label_end[keep],
            self.dropped_features, self.dropped_labels,
        )  # fmt: skip


def make_dataset(
    features: FloatArray, columns: Sequence[str], label: FloatArray, ts: IntArray, horizon: int
) -> Dataset:
    """Return the rows with finite features and label, counting the others.

    Parameters
    ----------
    features : (n, k) array
        One row per bar of a complete clock.
    columns : sequence of str
        Names of the k columns.
    label : (n,) array
        Label of each row; NaN where there is none.
    ts : (n,) array of int64
        Open times, ns UTC, on a complete clock.
    horizon : int
        Bars that the label looks ahead.

    Raises
    ------
    InvalidInput
        If shapes or names disagree, or a label stands in the last ``horizon`` rows: it would have been made of bars
        after the dataset, that is of the test period.
    """
    n, k = features.shape if features.ndim == 2 else (-1, -1)
    if n < 0 or len(columns) != k or len(set(columns)) != k:
        raise InvalidInput("columns", f"must name each column of features {features.shape} once", list(columns))
    if label.shape != (n,) or ts.shape != (n,):
        raise InvalidInput("label and ts", f"must have {n} rows", (label.shape, ts.shape))
    if (np.diff(ts) <= 0).any():
        raise InvalidInput("ts", "must increase")
    end = label_end(n, horizon)
    reaching = np.flatnonzero(np.isfinite(label) & (end >= n))
    if reaching.size:
        raise InvalidInput(f"label[{reaching[0]}]", f"must be NaN: {horizon} bars ahead lies outside the rows")
    whole = np.isfinite(features).all(axis=1)
    keep = whole & np.isfinite(label)
    return Dataset(
        X=np.ascontiguousarray(features[keep], dtype=np.float64),
        columns=tuple(columns),
        y=np.ascontiguousarray(label[keep], dtype=np.float64),
        ts=ts[keep].astype(np.int64),
        label_end=ts[end[keep]].astype(np.int64),
        dropped_features=int(n - whole.sum()),
        dropped_labels=int(whole.sum() - keep.sum()),
    )
