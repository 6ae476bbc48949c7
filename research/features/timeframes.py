"""Bars of a longer timeframe out of those that are pushed, and their features held until the next.

A longer bar is told at the close of its last base bar, never before: its features are known from that row on. The part
of a bar that the stream entered half-way is passed over. A longer bar is made, entry by entry, of the base bars on
which everything that the entry reads can be read, each column by its own rule (``research.features.inputs``): what one
source has and another lacks would make a ratio of two different times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from research.features.feature_entry import Entry
from research.features.inputs import FIRST, HIGHEST, LAST, LOWEST, MEAN, PRICE, SIGNED, SIZE, SUM
from research.features.validity import CEILING
from research.kernel import FloatArray, IntArray, kernel

_RULES = {FIRST: 0, LAST: 1, HIGHEST: 2, LOWEST: 3, SUM: 4, MEAN: 5}
_KINDS = {SIGNED: 0, SIZE: 1, PRICE: 2}
_UNDER_WAY = 1.0  # in the first slot: the bar was entered at its start, and is not told yet
_BLOCK = 8_192  # base bars merged at a time: their columns are copied side by side

Merge = tuple[tuple[str, str, str], ...]  # columns that are merged together: name, kind, rule


@kernel
def merge_bars(
    ts: IntArray, columns: FloatArray, rules: IntArray, step: int, length: int, state: FloatArray, out: FloatArray,
    opens: IntArray, rows: IntArray,
) -> int:  # fmt: skip
    """Advance the longer bar under way by the base bars of a chunk.

    Parameters
    ----------
    ts : (n,) array of int64
        Open times, ns, on the grid of ``step``, none left out.
    columns : (k, n) array
        Base columns. A bar on which one of them cannot be read moves the clock and nothing else.
    rules : (2, k) array of int64
        0 first, 1 last, 2 highest, 3 lowest, 4 sum, 5 mean; what can be read: 0 any number, 1 not below zero, 2 above.
    step, length : int
        Base bar and longer bar, ns; a step of 0 is one not known yet: then no bar is told.
    state : (2 + k,) array
        Bar under way; base bars read in it; the value so far of each column.
    out : (k, m) array
        Columns of the bars told, NaN where no base bar could be read; m >= n * step // length + 2.
    opens : (m,) array of int64
        Their open times, ns.
    rows : (m,) array of int64
        Base bar at whose close each was told; -1: it closed with the last bar of the chunk before, whose step was not
        known then.

    Returns
    -------
    int
        Bars told.
    """
    told = 0
    for i in range(ts.shape[0]):
        inside = ts[i] % length
        if inside == 0:
            if state[0] == _UNDER_WAY:
                opens[told], rows[told] = ts[i] - length, i - 1
                _tell(rules, state, out, told)
                told += 1
            state[0] = _UNDER_WAY
            state[1] = 0.0
        if state[0] != _UNDER_WAY:
            continue
        if _readable(columns, rules, i):
            for j in range(columns.shape[0]):
                value, rule = columns[j, i], rules[0, j]
                if state[1] == 0.0 or rule == 1:
                    state[2 + j] = value
                elif rule == 2:
                    state[2 + j] = max(state[2 + j], value)
                elif rule == 3:
                    state[2 + j] = min(state[2 + j], value)
                elif rule >= 4:
                    state[2 + j] += value
            state[1] += 1.0
        if step > 0 and inside + step == length:
            opens[told], rows[told] = ts[i] - inside, i
            _tell(rules, state, out, told)
            told += 1
            state[0] = 0.0
    return told


@kernel
def _readable(columns: FloatArray, rules: IntArray, i: int) -> bool:
    for j in range(columns.shape[0]):
        value, kind = columns[j, i], rules[1, j]
        if not (-CEILING <= value <= CEILING) or (kind == 1 and value < 0.0) or (kind == 2 and value <= 0.0):
            return False
    return True


@kernel
def _tell(rules: IntArray, state: FloatArray, out: FloatArray, at: int) -> None:
    for j in range(out.shape[0]):
        if state[1] == 0.0:
            out[j, at] = np.nan
        else:
            out[j, at] = state[2 + j] / state[1] if rules[0, j] == 5 else state[2 + j]


@kernel
def hold(told: FloatArray, rows: IntArray, count: int, held: FloatArray, out: FloatArray) -> None:
    """Write the newest told value into every base row from the one it was told at on.

    Parameters
    ----------
    told : (k, m) array
        Values of the longer bars, of which ``count`` are new.
    rows : (m,) array of int64
        Base row from which each holds; -1 is before the chunk.
    count : int
        Longer bars told in this chunk.
    held : (k,) array
        Values told last, NaN before the first; updated.
    out : (k, n) array
        One row per column.
    """
    n = out.shape[1]
    for j in range(out.shape[0]):
        at = 0
        value = held[j]
        for b in range(count):
            until = max(rows[b], 0)
            while at < until:
                out[j, at] = value
                at += 1
            value = told[j, b]
        while at < n:
            out[j, at] = value
            at += 1
        held[j] = value


class _Merge:
    """Columns that are merged together, and the bar of them under way."""

    __slots__ = ("block", "columns", "rules", "state")

    def __init__(self, merge: Merge, state: FloatArray) -> None:
        self.columns = tuple(name for name, _, _ in merge)
        codes = [[_RULES[rule] for _, _, rule in merge], [_KINDS[kind] for _, kind, _ in merge]]
        self.rules = np.array(codes, dtype=np.int64).reshape(2, len(merge))
        self.state = state
        self.block = np.empty((len(merge), 1))


class Timeframe:
    """The entries of one timeframe in a stream.

    Parameters
    ----------
    length_ns : int
        Its bar.
    entries : sequence of Entry
        In an order in which each comes after those that it reads.
    states : mapping of str to array
        States of the kernels by key: views into the stream's own.
    own_state : array
        :func:`state_size` slots of the stream's state: the bars under way, then the values held.
    """

    __slots__ = ("_held", "_local", "_merges", "_order", "_outputs", "entries", "length_ns")

    def __init__(
        self, length_ns: int, entries: Sequence[Entry], states: Mapping[str, FloatArray], own_state: FloatArray
    ) -> None:
        self.length_ns, self.entries = length_ns, tuple(entries)
        self._merges: dict[Merge, _Merge] = {}
        at = 0
        for merge in merges(entries):
            self._merges[merge] = _Merge(merge, own_state[at : at + 2 + len(merge)])
            at += 2 + len(merge)
        self._held = own_state[at:]
        self._local: dict[str, int] = {}
        for entry in self.entries:
            for column in entry.columns:
                self._local[column] = len(self._local)
        self._outputs = len(self._local)
        self._order = []
        for entry in self.entries:
            first = self._local[entry.columns[0]]
            self._order.append((entry, entry.merged, states[entry.key], slice(first, first + len(entry.columns))))

    def push(self, ts: IntArray, given: Mapping[str, Any], step_ns: int, outs: Mapping[str, FloatArray]) -> None:
        """Take base bars and write the features of the longer ones into the output of each entry."""
        n = ts.shape[0]
        for first in range(0, n, _BLOCK):
            self._push_block(ts, given, slice(first, min(first + _BLOCK, n)), step_ns, outs)

    def _push_block(
        self, ts: IntArray, given: Mapping[str, Any], part: slice, step_ns: int, outs: Mapping[str, FloatArray]
    ) -> None:
        n = part.stop - part.start
        most = n * step_ns // self.length_ns + 2
        opens, rows, count = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64), 0
        bars: dict[Merge, dict[str, Any]] = {}
        for merge, under_way in self._merges.items():
            block = under_way.block if n == 1 else np.empty((len(merge), n))
            for j, name in enumerate(under_way.columns):
                block[j] = given[name][part]
            out = np.empty((len(merge), most))
            length, state = self.length_ns, under_way.state
            count = merge_bars(ts[part], block, under_way.rules, step_ns, length, state, out, opens, rows)
            bars[merge] = {name: out[j, :count] for j, name in enumerate(under_way.columns)}
        told = np.empty((self._outputs, count))
        if count:
            for entry, merge, state, local in self._order:
                inputs = [self._input(source, entry, bars[merge], opens[:count], told) for source in entry.sources]
                entry.spec.kernel(*inputs, *entry.arguments, state, told[local])
        for entry, _, _, local in self._order:
            target = outs[entry.key]
            if n < target.shape[1]:
                held = np.empty((target.shape[0], n))
                hold(told[local], rows, count, self._held[local], held)
                target[:, part] = held
            else:
                hold(told[local], rows, count, self._held[local], target)

    def _input(
        self, source: str | tuple[str, ...], entry: Entry, bars: Mapping[str, Any], opens: IntArray, told: FloatArray
    ) -> Any:
        if isinstance(source, tuple):
            return np.stack([bars[name] for name in source], axis=1)
        if source in entry.needs:
            return told[self._local[source]]
        return opens if source == "ts" else bars[source]


def merges(entries: Sequence[Entry]) -> list[Merge]:
    """Return the sets of columns that entries read, each once."""
    return sorted({entry.merged for entry in entries})


def state_size(entries: Sequence[Entry]) -> int:
    """Return the slots of a :class:`Timeframe` besides those of its kernels."""
    return sum(2 + len(merge) for merge in merges(entries)) + held_slots(entries)


def held_slots(entries: Sequence[Entry]) -> int:
    """Return how many of them, the last ones, hold outputs and begin as NaN."""
    return sum(len(entry.spec.outputs) for entry in entries)
