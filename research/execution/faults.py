"""Bars that an account cannot read, found in one pass; it reads and repairs nothing."""

from __future__ import annotations

import math

from research.kernel import FloatArray, IntArray, kernel, truth

_FALSE, _TRUE = truth(False), truth(True)

# Name of the column and the rule that it breaks.
FAULTS = {
    1: ("ts", "must be one step after the bar before it"),
    2: ("ts", "must be a multiple of the step"),
    3: ("price", "must be positive and finite, or NaN in a gap"),
    4: ("mark", "must be positive and finite, or NaN"),
    5: ("funding_rate", "must be finite, 0 where none is settled"),
    6: ("funding_rate", "must be 0 on a spot market"),
    7: ("target", "must be finite, or NaN for no new decision"),
    8: ("target", "must not be short on a spot market"),
    9: ("price", "must have open and close between low and high"),
    10: ("volume", "must not be negative or infinite, NaN where unknown"),
    11: ("mark_high", "must be positive and finite with mark_close and mark_low not above it, or NaN"),
    12: ("unit", "must not be negative or infinite, NaN where unknown"),
    13: ("trail_low", "must be positive and finite, or NaN for none"),
    14: ("trail_high", "must be positive and finite, or NaN for none"),
}


@kernel
def is_bad(value: float, may_be_zero: bool) -> bool:
    """Tell whether a value is infinite, negative, or 0 where that is not allowed; NaN is not bad."""
    return value < 0.0 or value == math.inf or (value == 0.0 and not may_be_zero)


@kernel
def first_fault(
    ts: IntArray, open_: FloatArray, high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray,
    mark: FloatArray, mark_high: FloatArray, mark_low: FloatArray, mark_close: FloatArray, funding_rate: FloatArray,
    unit: FloatArray, trail_low: FloatArray, trail_high: FloatArray, target: FloatArray,
    last_ts: int, step_ns: int, is_first: bool, is_spot: bool, may_short: bool,
) -> tuple[int, int]:  # fmt: skip
    """Return the code (a key of ``FAULTS``; 0 for none) and index of the first bar of a leg that breaks a rule."""
    n = ts.shape[0]
    for i in range(n):
        if is_first and i == 0:
            if ts[0] % step_ns != 0:
                return 2, i
        elif ts[i] - (last_ts if i == 0 else ts[i - 1]) != step_ns:
            return 1, i
    # One comparison chain without branches per bar, so that the loop is vectorised; then the bar is looked for.
    bad = 0
    for i in range(n):
        o, h, lo, c = open_[i], high[i], low[i], close[i]
        bad |= (lo <= 0.0) | (h == math.inf) | (o <= 0.0) | (c <= 0.0) | (lo > o) | (lo > c) | (h < o) | (h < c)
        bad |= (o == math.inf) | (c == math.inf) | (h <= 0.0) | (lo == math.inf)
    if bad != 0:
        for i in range(n):
            o, h, lo, c = open_[i], high[i], low[i], close[i]
            if is_bad(o, _FALSE) or is_bad(h, _FALSE) or is_bad(lo, _FALSE) or is_bad(c, _FALSE):
                return 3, i
            if lo > o or lo > c or h < o or h < c:
                return 9, i
    for i in range(n):
        if not math.isfinite(funding_rate[i]):
            return 5, i
        if is_spot and funding_rate[i] != 0.0:
            return 6, i
    if volume.shape[0] > 0:
        for i in range(ts.shape[0]):
            if is_bad(volume[i], _TRUE):
                return 10, i
    if mark.shape[0] > 0:
        for i in range(ts.shape[0]):
            if is_bad(mark[i], _FALSE):
                return 4, i
    if mark_high.shape[0] > 0:
        for i in range(ts.shape[0]):
            h, lo, c = mark_high[i], mark_low[i], mark_close[i]
            if is_bad(h, _FALSE) or is_bad(lo, _FALSE) or is_bad(c, _FALSE) or lo > h or c > h or c < lo:
                return 11, i
    if unit.shape[0] > 0:
        for i in range(ts.shape[0]):
            if is_bad(unit[i], _TRUE):
                return 12, i
    if trail_low.shape[0] > 0:
        for i in range(ts.shape[0]):
            if is_bad(trail_low[i], _FALSE):
                return 13, i
    if trail_high.shape[0] > 0:
        for i in range(ts.shape[0]):
            if is_bad(trail_high[i], _FALSE):
                return 14, i
    if target.shape[0] > 0:
        for i in range(ts.shape[0]):
            if math.isinf(target[i]):
                return 7, i
            if target[i] < 0.0 and not may_short:
                return 8, i
    return 0, 0
