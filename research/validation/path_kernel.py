"""One path of returns: how it is drawn, and its statistics. It holds no paths and no figure of many."""

from __future__ import annotations

import math

import numpy as np

from research.kernel import kernel

# They depend on which returns were drawn, not on their order: a shuffle leaves them as they are.
ORDER_FREE = ("total", "sharpe", "profit_factor")


@kernel
def resampled(values, uniform, block, drawn):  # type: ignore[no-untyped-def]
    """Draw blocks of geometric length with replacement, the end of the series continued by its start.

    One uniform number decides both: below 1 / block a new block starts, and where the number lies below that
    (uniform again) says at which return.
    """
    n = values.shape[0]
    restart = 1.0 / block
    at = 0
    for i in range(n):
        if i == 0:
            at = min(int(uniform[i] * n), n - 1)
        elif uniform[i] < restart:
            at = min(int(uniform[i] / restart * n), n - 1)
        else:
            at = at + 1 if at + 1 < n else 0
        drawn[i] = values[at]


@kernel
def shuffled(values, uniform, drawn):  # type: ignore[no-untyped-def]
    """Draw a permutation, each equally likely (Fisher-Yates)."""
    drawn[:] = values
    for i in range(values.shape[0] - 1, 0, -1):
        j = min(int(uniform[i] * (i + 1)), i)
        drawn[i], drawn[j] = drawn[j], drawn[i]


@kernel
def path_statistics(values, compounding, positions, marks, out):  # type: ignore[no-untyped-def]
    """Write the statistics of one path, and its equity at some positions.

    Parameters
    ----------
    values : (n,) array
        Returns in order.
    compounding : bool
        Multiply returns up or add them.
    positions : (m,) array of int64
        Increasing, counted in returns since the start; those beyond the end get the last equity.
    marks : (m,) array
        Filled with the equity there: 1 at the start where returns compound, else 0.
    out : (5,) or (7,) array
        Filled with total, sharpe, profit_factor, max_drawdown and lowest, and where there is room with the share of
        returns after which equity lies below its peak, and the longest run of them.
    """
    n = values.shape[0]
    gain, loss, first = 0.0, 0.0, values[0]
    shifted, shifted_square, is_constant = 0.0, 0.0, True
    equity = 1.0 if compounding else 0.0
    start, peak, low, deepest = equity, equity, equity, 0.0
    under, run, longest, mark = 0, 0, 0, 0
    while mark < positions.shape[0] and positions[mark] == 0:
        marks[mark] = equity
        mark += 1
    for i in range(n):
        value = values[i]
        if value > 0.0:
            gain += value
        else:
            loss -= value
        if value != first:
            is_constant = False
        shifted += value - first
        shifted_square += (value - first) * (value - first)
        if compounding:
            equity = max(equity * (1.0 + value), 0.0)
        else:
            equity += value
        low = min(low, equity)
        if equity < peak:
            under, run = under + 1, run + 1
            longest = max(longest, run)
            deepest = min(deepest, equity / peak - 1.0 if compounding else equity - peak)
        else:
            peak, run = equity, 0
        if mark < positions.shape[0] and positions[mark] == i + 1:
            marks[mark] = equity
            mark += 1
    marks[mark:] = equity
    out[0] = equity - start
    if is_constant:
        out[1] = np.nan
    else:
        variance = (shifted_square - shifted * shifted / n) / (n - 1)
        out[1] = (first + shifted / n) / math.sqrt(variance)
    if loss > 0.0:
        out[2] = gain / loss
    else:
        out[2] = np.inf if gain > 0.0 else np.nan
    out[3] = deepest
    out[4] = low - start
    if out.shape[0] > 5:
        out[5], out[6] = under / n, longest
