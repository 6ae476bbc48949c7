"""What is wrong with which rows: one pure function per rule, arrays in, mask and value out. It changes no row.

The rules look at whole series and at both neighbours of a bar: they are for stored history, not for live decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from research.errors import InvalidInput
from research.kernel import FloatArray, IntArray

BoolArray = NDArray[np.bool_]
MAD_TO_SD = 1.4826  # standard deviation of a normal over its median absolute deviation
PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the measured rules begin to find.

    Parameters
    ----------
    spike_z : float
        Robust z from which a print that both neighbours contradict is a spike.
    jump_z : float
        Robust z from which a close-to-close log return is a jump.
    volume_z : float
        Robust z of log volume, either way.
    window_bars : int
        Centred window of the running medians behind the three.
    floor_frac : float
        Least standard deviation of a bar's log return that a z is measured in, so that a flat stretch does not make
        its first tick a jump; 0.0002 is two ticks of 0.01 at a price of 100.
    stale_bars : int
        Length from which a run of identical flat bars without volume is stale.
    """

    spike_z: float = 15.0
    jump_z: float = 20.0
    volume_z: float = 10.0
    window_bars: int = 501
    floor_frac: float = 2e-4
    stale_bars: int = 3

    def __post_init__(self) -> None:
        for name in ("spike_z", "jump_z", "volume_z", "floor_frac"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise InvalidInput(f"Thresholds.{name}", "must be finite and above 0", value)
        for name in ("window_bars", "stale_bars"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 2:
                raise InvalidInput(f"Thresholds.{name}", "must be a whole number of at least 2", value)


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that break a rule: a mask, how badly each does, and the limit."""

    mask: BoolArray
    value: FloatArray
    threshold: float


def unordered(ts: IntArray, step: int) -> Found:
    """Rows earlier than a row before them; value: how many steps behind the latest."""
    latest = np.maximum.accumulate(ts) if ts.size else ts
    behind = (latest - ts) / step
    return Found(behind > 0.0, behind, 0.0)


def off_grid(ts: IntArray, step: int) -> Found:
    """Rows whose time is not a multiple of the interval; value: nanoseconds past it."""
    past = ts % step
    return Found(past != 0, past.astype(np.float64), 0.0)


def repeated(frame: pl.DataFrame) -> tuple[Found, Found]:
    """Return ``(duplicate, conflict)`` of rows sorted by ``ts``.

    A duplicate has every value of the first row of its time (NaN equals NaN). A conflict is every row of a time at
    which rows differ, but for duplicates; value: how many rows tell that time.
    """
    ts = frame["ts"].to_physical().to_numpy()
    first = np.concatenate(([True], ts[1:] != ts[:-1])) if ts.size else np.zeros(0, dtype=bool)
    group = np.cumsum(first) - 1
    leader = np.flatnonzero(first)[group] if ts.size else group
    same = np.ones(ts.size, dtype=bool)
    for name in frame.columns[1:]:
        column = frame[name]
        same &= column.eq_missing(column.gather(leader)).to_numpy()
    told = np.bincount(group, minlength=0)[group].astype(np.float64) if ts.size else np.zeros(0)
    differs = np.zeros(ts.size, dtype=bool)
    if ts.size:
        differs = (np.bincount(group, weights=~same) > 0)[group]
    duplicate = same & ~first
    return Found(duplicate, told, 1.0), Found(differs & ~duplicate, told, 1.0)


def absent(present: BoolArray) -> Found:
    """Grid times without a bar; value: length of the gap."""
    return Found(~present, _run_lengths(~present), 0.0)


def nonfinite(prices: FloatArray, present: BoolArray) -> Found:
    """Bars with NaN or infinite prices; value: how many of the four."""
    broken = np.sum(~np.isfinite(prices), axis=0).astype(np.float64)
    return Found(present & (broken > 0.0), broken, 0.0)


def nonpositive(prices: FloatArray) -> Found:
    """Bars with a finite price of 0 or less; value: the lowest."""
    finite = np.where(np.isfinite(prices), prices, np.inf)
    lowest = np.min(finite, axis=0)
    return Found(lowest <= 0.0, lowest, 0.0)


def crossed(prices: FloatArray) -> Found:
    """Finite bars whose high is below, or low above, another price; value: by what fraction of the close."""
    open_, high, low, close = np.where(np.isfinite(prices).all(axis=0), prices, 0.0)
    over = np.maximum(np.maximum(open_, close), low) - high
    under = low - np.minimum(np.minimum(open_, close), high)
    worst = np.maximum(over, under)
    with np.errstate(divide="ignore", invalid="ignore"):  # a close of 0 is another rule's finding
        return Found(worst > 0.0, worst / np.abs(close), 0.0)


def spikes(prices: FloatArray, valid: BoolArray, limits: Thresholds) -> tuple[Found, Found]:
    """Return ``(spike, jump)`` over the valid bars.

    Returns are measured in robust standard deviations: 1.4826 times the running median of absolute close-to-close
    log returns, times the square root of the bars between. A spike is a print (open, high, low or close) that far
    from the closes of *both* neighbours: it came and went within one bar. A jump is a close that far from the close
    before it, whether or not it stays. A bar at either end has one neighbour, which decides alone.
    """
    size = valid.size
    spike, jump = np.zeros(size), np.zeros(size)
    rows = np.flatnonzero(valid)
    if rows.size >= 2:
        logs = np.log(prices[:, rows])
        close = logs[3]
        distance = np.sqrt(np.diff(rows).astype(np.float64))
        back = np.abs(np.diff(close)) / distance
        scale = np.maximum(MAD_TO_SD * _running_median(back, limits.window_bars), limits.floor_frac)
        unit = scale * distance
        jump[rows[1:]] = np.abs(np.diff(close)) / unit
        from_before = np.full(logs.shape, np.inf)
        from_before[:, 1:] = np.abs(logs[:, 1:] - close[:-1]) / unit
        from_after = np.full(logs.shape, np.inf)
        from_after[:, :-1] = np.abs(logs[:, :-1] - close[1:]) / unit
        spike[rows] = np.max(np.minimum(from_before, from_after), axis=0)
    return Found(spike > limits.spike_z, spike, limits.spike_z), Found(jump > limits.jump_z, jump, limits.jump_z)


def stale(prices: FloatArray, volume: FloatArray, valid: BoolArray, limits: Thresholds) -> Found:
    """Runs of flat bars at one price without volume; value: length of the run."""
    flat = valid & (np.ptp(np.where(valid, prices, 0.0), axis=0) == 0.0) & (volume == 0.0)
    same = np.concatenate(([False], flat[1:] & flat[:-1] & (prices[3, 1:] == prices[3, :-1])))
    starts = flat & ~same
    lengths = np.zeros(flat.size)
    if flat.any():
        run = np.cumsum(starts) - 1
        counts = np.bincount(run[flat])
        lengths[flat] = counts[run[flat]]
    return Found(flat & (lengths >= limits.stale_bars), lengths, float(limits.stale_bars))


def volume_invalid(frame: pl.DataFrame, present: BoolArray) -> Found:
    """Bars whose volume is NaN, infinite or negative, or whose flow contradicts it; value: the volume.

    Turnover, trade count and taker buys may be NaN or null (not recorded) but not infinite or negative, and taker
    buys may not exceed the volume by more than rounding (one part in 10**9).
    """
    volume = frame["volume"].to_numpy()
    bad = ~np.isfinite(volume) | (volume < 0.0)
    for name in ("turnover", "trade_count", "taker_buy_volume"):
        flow = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        bad |= (flow < 0.0) | np.isinf(flow)
        if name == "taker_buy_volume":
            bad |= flow > volume * (1.0 + 1e-9)
    return Found(present & bad, volume, 0.0)


def volume_spike(volume: FloatArray, valid: BoolArray, limits: Thresholds) -> Found:
    """Bars whose log volume is far from its running median; value: signed robust z. Zero volume is not looked at."""
    score = np.zeros(volume.size)
    rows = np.flatnonzero(valid & np.isfinite(volume) & (np.where(np.isfinite(volume), volume, 0.0) > 0.0))
    if rows.size >= 2:
        logs = np.log(volume[rows])
        away = logs - _running_median(logs, limits.window_bars)
        scale = MAD_TO_SD * _running_median(np.abs(away), limits.window_bars)
        # A tenth: below that a constant volume would make its first change a finding.
        score[rows] = away / np.maximum(scale, 0.1)
    return Found(np.abs(score) > limits.volume_z, score, limits.volume_z)


def _running_median(values: FloatArray, window: int) -> FloatArray:
    """Return the centred running median; at the ends over the part of the window that exists."""
    return pl.Series(values).rolling_median(min(window, values.size), min_samples=1, center=True).to_numpy()


def _run_lengths(mask: BoolArray) -> FloatArray:
    """Return for each row of a run of true values how long the run is, 0 elsewhere."""
    lengths = np.zeros(mask.size)
    for start, end in runs(np.flatnonzero(mask)):
        lengths[start:end] = end - start
    return lengths


def runs(rows: IntArray) -> list[tuple[int, int]]:
    """Return ``[start, end)`` of each run of consecutive numbers in increasing ``rows``.

    Examples
    --------
    >>> runs(np.array([2, 3, 7]))
    [(2, 4), (7, 8)]
    """
    if rows.size == 0:
        return []
    cut = np.flatnonzero(np.diff(rows) != 1)
    starts = np.concatenate(([rows[0]], rows[cut + 1]))
    ends = np.concatenate((rows[cut], [rows[-1]])) + 1
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
