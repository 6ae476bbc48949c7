"""Compare two runs of the same bars to the bit. It tolerates nothing and repairs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Table = Mapping[str, NDArray]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one table of two runs came to.

    Parameters
    ----------
    name : str
        ``features``, ``decisions``, ``fills``, ``equity``.
    rows : int
        Rows of the expected table.
    columns : int
        Columns compared.
    expected, actual : str
        SHA-256 over every column's bytes in order.
    difference : str
        The first difference in words; empty when there is none.
    """

    name: str
    rows: int
    columns: int
    expected: str
    actual: str
    difference: str

    @property
    def is_equal(self) -> bool:
        """Whether every byte agrees."""
        return self.expected == self.actual and not self.difference


def compare(name: str, expected: Table, actual: Table) -> Comparison:
    """Compare columns of numbers byte for byte; NaN equals NaN only with the same bits.

    Examples
    --------
    >>> a = {"x": np.array([1.0, 2.0])}
    >>> compare("t", a, {"x": np.array([1.0, 2.0])}).is_equal
    True
    >>> compare("t", a, {"x": np.array([1.0, np.nextafter(2.0, 3.0)])}).difference
    't.x[1] is 2.0000000000000004, expected 2.0'
    """
    rows = len(next(iter(expected.values()))) if expected else 0
    digests = [_digest(expected), _digest(actual)]
    difference = "" if digests[0] == digests[1] else _first_difference(name, expected, actual)
    return Comparison(name, rows, len(expected), digests[0], digests[1], difference)


def _digest(table: Table) -> str:
    digest = hashlib.sha256()
    for column, values in table.items():
        digest.update(f"{column} {values.dtype.str} {len(values)}\n".encode() + np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _first_difference(name: str, expected: Table, actual: Table) -> str:
    if list(expected) != list(actual):
        return f"{name} has columns {list(actual)}, expected {list(expected)}"
    for column, want in expected.items():
        have = actual[column]
        if want.dtype != have.dtype:
            return f"{name}.{column} is {have.dtype}, expected {want.dtype}"
        if len(want) != len(have):
            return f"{name} has {len(have)} rows, expected {len(want)}"
        wide = want.dtype.itemsize
        unequal = (want.view(f"V{wide}") != have.view(f"V{wide}")).nonzero()[0]
        if unequal.size:
            row = int(unequal[0])
            return f"{name}.{column}[{row}] is {have[row].item()}, expected {want[row].item()}"
    return f"{name} differs"
