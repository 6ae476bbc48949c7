"""What one leg of a backtest reads, turned into the columns that an account takes; it simulates nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from research.errors import InvalidInput, MisalignedBars, SchemaMismatch
from research.execution.costs import Costs
from research.execution.funding import funding_per_bar, opens_of
from research.kernel import FloatArray, IntArray
from research.market.bars import arrays, epoch_ns, read_in_place, require_clock
from research.market.instruments import Instrument
from research.risk.exits import Exits

Column: TypeAlias = ArrayLike | pl.Series | pl.DataFrame
PATH = {"mark_high": "high", "mark_low": "low", "mark_close": "close"}


@dataclass(frozen=True, slots=True)
class Leg:
    """One instrument of a backtest and all that is known of its market.

    Parameters
    ----------
    bars : polars.DataFrame
        ``ts`` on a complete clock (see :func:`research.market.bars.on_clock`) and open, high, low, close; ``volume``
        where costs or caps read it. A row with NaN is a gap: nothing fills.
    instrument : Instrument
        Ticks, lots, minima, fees, leverage and margin tiers, by date.
    targets : (n,) array_like, polars.Series, or polars.DataFrame with ``ts`` and one more column, optional
        Exposure decided on each bar's close, as a signed fraction of the account's equity. NaN is no new decision. It
        acts at the next valid bar's open, plus the latency.
    funding : polars.DataFrame, optional
        Rows as of :func:`research.execution.funding_per_bar`. Without it no funding is charged.
    mark : polars.DataFrame, optional
        Mark price on times of the bars' clock: ``ts``, ``open``, and high, low, close if they are known. Where there is
        none the traded price stands in.
    unit : as targets, optional
        A price distance known at each bar's close, such as an ATR: exits and slippage may be counted in it.
    trail_low, trail_high : as targets, optional
        Levels known at each bar's close at which a trailing stop of a long and of a short would stand.
    fine : polars.DataFrame, optional
        Finer bars (``ts``, open, high, low, close), a whole number of them to a bar; absent ones are absent rows. They
        decide what a bar leaves open.
    costs : Costs, optional
        Of this leg, instead of the account's.
    exits : Exits, optional
        Of this leg, instead of the account's.
    """

    bars: pl.DataFrame
    instrument: Instrument
    targets: Column | None = None
    funding: pl.DataFrame | None = None
    mark: pl.DataFrame | None = None
    unit: Column | None = None
    trail_low: Column | None = None
    trail_high: Column | None = None
    fine: pl.DataFrame | None = None
    costs: Costs | None = None
    exits: Exits | None = None


def clock_of(bars: pl.DataFrame) -> tuple[IntArray, int]:
    """Return the times of a complete clock of at least two bars, and its step.

    Raises
    ------
    InvalidInput
        If there are fewer than two bars.
    MisalignedBars
        If a bar is not one step after the one before it.
    """
    ts = epoch_ns(bars)
    if ts.size < 2:
        raise InvalidInput("bars", "must have at least 2 rows", ts.size)
    step_ns = int(ts[1] - ts[0])
    if step_ns <= 0:
        raise MisalignedBars("bars.ts[1]", "must be later than the bar before it", int(ts[1]))
    require_clock(ts, step_ns)
    return ts, step_ns


def columns_of(leg: Leg, ts: IntArray, step_ns: int, max_leverage: float) -> tuple[dict[str, FloatArray], int, int]:
    """Return a leg's columns by the names of :meth:`research.execution.Portfolio.push`, checked.

    Returns
    -------
    columns : dict of str to (n,) array
        Those that are known. Not to be written to: bars are read where they lie.
    settlements, on_mark : int
        Funding rows within the bars, and those of them with a recorded mark price.

    Raises
    ------
    MisalignedBars, InvalidInput, SchemaMismatch, FundingHole
        As :func:`research.backtest.simulate` tells.
    """
    names = ["open", "high", "low", "close"]
    found = dict(zip(names, read_in_place(leg.bars, names), strict=True))
    if "volume" in leg.bars.columns:
        found["volume"] = read_in_place(leg.bars, ["volume"])[0]
    if leg.targets is not None:
        found["target"] = column_of(leg.targets, ts, "targets")
        beyond = np.flatnonzero(np.abs(found["target"]) > max_leverage)  # infinite ones too; NaN never is
        if beyond.size:
            rule = f"must lie within max_leverage, ±{max_leverage:g}"
            raise InvalidInput(f"targets[{beyond[0]}]", rule, float(found["target"][beyond[0]]))
    for name in ("unit", "trail_low", "trail_high"):
        given = getattr(leg, name)
        if given is not None:
            found[name] = column_of(given, ts, name)
    found |= mark_columns(leg.mark, ts, step_ns)
    settlements, on_mark = 0, 0
    if leg.funding is not None:
        if leg.instrument.market == "spot":
            raise InvalidInput("funding", "must be None on a spot market", f"{leg.funding.height} rows")
        found["funding_rate"], settlements = funding_per_bar(ts, step_ns, leg.funding)
        if "mark" in found:
            bar, _ = opens_of(epoch_ns(leg.funding), int(ts[0]), step_ns)
            on_mark = int(np.isfinite(found["mark"][bar[(bar >= 0) & (bar < ts.size)]]).sum())
    return found, settlements, on_mark


def column_of(given: Column, ts: IntArray, subject: str) -> FloatArray:
    """Return one value per bar, NaN where there is none.

    Raises
    ------
    SchemaMismatch
        If a frame has other columns than ts and one more.
    MisalignedBars
        If a frame's times are not the bars'.
    InvalidInput
        If there are not as many values as bars.
    """
    if isinstance(given, pl.DataFrame):
        names = [name for name in given.columns if name != "ts"]
        if "ts" not in given.columns or len(names) != 1:
            raise SchemaMismatch(subject, "must have the columns ts and one more", given.columns)
        times = epoch_ns(given)
        if times.shape != ts.shape or (times != ts).any():
            raise MisalignedBars(f"{subject}.ts", f"must equal the bars' {ts.size} times", times.size)
        values = read_in_place(given, names)[0]
    elif isinstance(given, pl.Series):
        values = read_in_place(given.to_frame("value"), ["value"])[0]
    else:
        values = np.asarray(given, dtype=np.float64)
    if values.shape != ts.shape:
        raise InvalidInput(subject, f"must be {ts.size}, one for each bar", values.shape)
    return values


def mark_columns(mark: pl.DataFrame | None, ts: IntArray, step_ns: int) -> dict[str, FloatArray]:
    """Return the mark price at each bar's open and, if known, its way through the bar; NaN where there is none."""
    if mark is None:
        return {}
    times = epoch_ns(mark)
    if np.array_equal(times, ts):
        known = [name for name in ("open", *PATH.values()) if name in mark.columns or name == "open"]
        columns = dict(zip(known, read_in_place(mark, known), strict=True))
        path = {name: columns[column] for name, column in PATH.items() if len(known) == 1 + len(PATH)}
        return {"mark": columns["open"], **path}
    within = (times >= ts[0]) & (times <= ts[-1])
    offset = times[within] - ts[0]
    if (offset % step_ns).any() or (np.diff(times) <= 0).any():
        raise MisalignedBars("mark.ts", f"must increase, on the bars' clock of {step_ns} ns", str(mark["ts"].dtype))
    wanted = {"mark": "open"}
    if all(name in mark.columns for name in PATH.values()):
        wanted |= PATH
    found = {}
    for name, column in wanted.items():
        found[name] = np.full(ts.size, np.nan)
        found[name][offset // step_ns] = arrays(mark, [column])[0][within]
    return found


def fine_columns(fine: pl.DataFrame, ts: IntArray, step_ns: int) -> FloatArray:
    """Return finer bars on the clock of the bars, shape (4, n * m): open, high, low, close; NaN where there is none.

    Raises
    ------
    MisalignedBars
        If they are not on a grid that divides the bars', or not finer.
    """
    times = epoch_ns(fine)
    gaps = np.diff(times)
    fine_ns = int(gaps.min()) if gaps.size else step_ns
    if gaps.size == 0 or fine_ns <= 0 or step_ns % fine_ns or fine_ns == step_ns or ((times - ts[0]) % fine_ns).any():
        rule = f"must increase, on a finer clock that divides the bars' {step_ns} ns"
        raise MisalignedBars("fine.ts", rule, fine_ns)
    per_bar = step_ns // fine_ns
    within = (times >= ts[0]) & (times < ts[-1] + step_ns)
    found = np.full((4, ts.size * per_bar), np.nan)
    at = (times[within] - ts[0]) // fine_ns
    for row, values in zip(found, arrays(fine, ["open", "high", "low", "close"]), strict=True):
        row[at] = values[within]
    return found
