"""Bars of a longer timeframe out of those that are pushed, column by column, and their features held until the next.

A longer bar is told at the close of its last base bar, never before: its features are known from that row on. The part
of a bar that the stream entered half-way is passed over. Every column has its own rule (``research.features.inputs``);
a value that is not finite is absent and takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from research.features.feature_entry import Entry
from research.features.inputs import FIRST, HIGHEST, INPUTS, LAST, LOWEST, SUM
from research.features.validity import CEILING
from research.kernel import FloatArray, IntArray, kernel

_RULES = {FIRST: 0, LAST: 1, HIGHEST: 2, LOWEST: 3, SUM: 4}
_UNDER_WAY = 1.0  # in the first slot: the bar was entered at its start, and is not told yet
_BLOCK = 8_192  # base bars merged at a time: their columns are copied side by side


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
        Base columns; not finite where absent.
    rules : (k,) array of int64
        0 first, 1 last, 2 highest, 3 lowest, 4 sum.
    step, length : int
        Base bar and longer bar, ns; a step of 0 is one not known yet: then no bar is told.
    state : (1 + 2 k,) array
        Bar under way; per column the value so far and whether there is one.
    out : (k, m) array
        Columns of the bars told; m >= n * step // length + 2.
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
    k = columns.shape[0]
    told = 0
    for i in range(ts.shape[0]):
        inside = ts[i] % length
        if inside == 0:
            if state[0] == _UNDER_WAY:
                opens[told], rows[told] = ts[i] - length, i - 1
                for j in range(k):
                    out[j, told] = state[1 + j] if state[1 + k + j] != 0.0 else np.nan
                told += 1
            state[0] = _UNDER_WAY
            for j in range(k):
                state[1 + j] = 0.0
                state[1 + k + j] = 0.0
        if state[0] != _UNDER_WAY:
            continue
        for j in range(k):
            value = columns[j, i]
            if not (-CEILING <= value <= CEILING):
                continue
            rule = rules[j]
            if state[1 + k + j] == 0.0:
                state[1 + j] = value
                state[1 + k + j] = 1.0
            elif rule == 1:
                state[1 + j] = value
            elif rule == 2:
                state[1 + j] = max(state[1 + j], value)
            elif rule == 3:
                state[1 + j] = min(state[1 + j], value)
            elif rule == 4:
                state[1 + j] += value
        if step > 0 and inside + step == length:
            opens[told], rows[told] = ts[i] - inside, i
            for j in range(k):
                out[j, told] = state[1 + j] if state[1 + k + j] != 0.0 else np.nan
            told += 1
            state[0] = 0.0
    return told


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


class Timeframe:
    """The entries of one timeframe in a stream.

    Parameters
    ----------
    length_ns : int
        Its bar.
    entries : sequence of Entry
        In an order in which each comes after those that it reads.
    rows : mapping of str to slice
        Rows of the stream's output by the entry's key.
    states : mapping of str to array
        States of the kernels by key: views into the stream's own.
    own_state : array
        ``state_size(...)`` slots of the stream's state: merge state, then the values held.
    """

    __slots__ = ("_block", "_held", "_local", "_order", "_outputs", "_rules", "_state", "columns", "entries",
                 "length_ns", "rows")  # fmt: skip

    def __init__(
        self, length_ns: int, entries: Sequence[Entry], rows: dict[str, slice], states: dict[str, FloatArray],
        own_state: FloatArray,
    ) -> None:  # fmt: skip
        self.length_ns, self.entries = length_ns, tuple(entries)
        self.columns = base_columns(entries)
        k = len(self.columns)
        self._rules = np.array([_rule(name) for name in self.columns], dtype=np.int64)
        self._state, self._held = own_state[: 1 + 2 * k], own_state[1 + 2 * k :]
        self._local: dict[str, int] = {}
        for entry in self.entries:
            for column in entry.columns:
                self._local[column] = len(self._local)
        self._outputs = len(self._local)
        self.rows = np.concatenate([np.arange(rows[e.key].start, rows[e.key].stop) for e in self.entries])
        self._order = [
            (e, states[e.key], slice(self._local[e.columns[0]], self._local[e.columns[-1]] + 1)) for e in self.entries
        ]
        self._block = np.empty((k, 1))

    def push(self, ts: IntArray, given: dict[str, Any], step_ns: int, out: FloatArray) -> None:
        """Take base bars and write the features of the longer ones into their rows of ``out``."""
        for first in range(0, ts.shape[0], _BLOCK):
            self._push_block(ts[first : first + _BLOCK], given, first, step_ns, out)

    def _push_block(self, ts: IntArray, given: dict[str, Any], first: int, step_ns: int, out: FloatArray) -> None:
        n = ts.shape[0]
        block = self._block if n == 1 else np.empty((len(self.columns), n))
        for j, name in enumerate(self.columns):
            block[j] = given[name][first : first + n]
        most = n * step_ns // self.length_ns + 2
        merged = np.empty((len(self.columns), most))
        opens, rows = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
        count = merge_bars(ts, block, self._rules, step_ns, self.length_ns, self._state, merged, opens, rows)
        if count == 0 and n == 1:
            out[self.rows, first] = self._held
            return
        told = np.empty((self._outputs, count))
        bars = {name: merged[j, :count] for j, name in enumerate(self.columns)}
        bars["ts"] = opens[:count]
        for entry, state, local in self._order:
            inputs = [self._input(source, entry, bars, told) for source in entry.sources]
            entry.spec.kernel(*inputs, *entry.arguments, state, told[local])
        for _, _, local in self._order:
            at = self.rows[local.start]
            target = out[at : at + local.stop - local.start]
            if first or n < out.shape[1]:
                target = target[:, first : first + n]
                held = np.empty(target.shape)
                hold(told[local], rows, count, self._held[local], held)
                target[:] = held
            else:
                hold(told[local], rows, count, self._held[local], target)

    def _input(self, source: str | tuple[str, ...], entry: Entry, bars: dict[str, Any], told: FloatArray) -> Any:
        if isinstance(source, tuple):
            return np.stack([bars[name] for name in source], axis=1)
        return told[self._local[source]] if source in entry.needs else bars[source]


def base_columns(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the columns of the bars that entries read, ``ts`` apart, in the order of their names."""
    return tuple(sorted({name for entry in entries for name in entry.bar_columns} - {"ts"}))


def state_size(entries: Sequence[Entry]) -> int:
    """Return the slots of a :class:`Timeframe` besides those of its kernels."""
    return 1 + 2 * len(base_columns(entries)) + sum(len(entry.spec.outputs) for entry in entries)


def held_slots(entries: Sequence[Entry]) -> int:
    """Return how many of them, the last ones, hold outputs and begin as NaN."""
    return sum(len(entry.spec.outputs) for entry in entries)


def _rule(column: str) -> int:
    name = column.rsplit(".", 1)[-1]
    return _RULES[INPUTS[name].merge if name in INPUTS else LAST]
