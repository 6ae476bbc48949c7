"""Bars for the runner, one at a time in order, on a complete clock. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from live.journal import read_journal
from live.settings import Settings
from research.bundle import Bundle
from research.errors import CorruptFile, InvalidInput, NotInLake
from research.execution.funding import funding_per_bar
from research.kernel import FloatArray, IntArray
from research.market.bars import arrays, conform, epoch_ns, interval_ns, on_clock
from research.market.lake import Lake
from research.market.lake_rows import time_range
from research.policy import BAR_INPUTS


@dataclass(frozen=True, slots=True)
class Recording:
    """Closed bars to be replayed, as columns.

    Parameters
    ----------
    ts : (n,) array of int64
        Open times, ns UTC.
    columns : dict of str to (n,) array of float64
        :data:`research.policy.BAR_INPUTS`.
    mark : (n,) array of float64
        Open of the mark price, NaN where it is not recorded.
    funding_rate : (n,) array of float64
        Rate settled in the bar, 0 where none is.
    ahead : int
        Bars at the head that are not replayed one by one: they lead from the hold-out's begin to the range asked for.
    """

    ts: IntArray
    columns: dict[str, FloatArray]
    mark: FloatArray
    funding_rate: FloatArray
    ahead: int = 0

    def one_by_one(self) -> Iterator[tuple[int, slice]]:
        """Yield (number, slice of one bar), oldest first, those ahead left out."""
        for i in range(self.ahead, self.ts.size):
            yield i, slice(i, i + 1)

    def columns_at(self, at: slice) -> dict[str, FloatArray]:
        """Return the columns of a range of bars."""
        return {name: values[at] for name, values in self.columns.items()}


def open_recording(settings: Settings, bundle: Bundle) -> Recording:
    """Return the bars that ``--replay`` names; a lake is read over the bundle's hold-out unless a range is given."""
    source = settings.replay
    if not source.exists():
        raise NotInLake(f"--replay {source}: no such folder or file")
    if source.is_dir():
        return _from_lake(source, settings, bundle)
    return _from_journal(source) if source.suffix == ".jsonl" else _from_file(source, settings, bundle)


def bar_event(recording: Recording, at: int) -> dict[str, Any]:
    """Return one bar as the journal holds it: all that a replay needs."""
    values = [float(recording.columns[name][at]) for name in BAR_INPUTS]
    return {
        "ts": int(recording.ts[at]),
        "bar": values,
        "mark": float(recording.mark[at]),
        "funding_rate": float(recording.funding_rate[at]),
    }


def _from_journal(path: Path) -> Recording:
    """Return the bars of a session from its journal."""
    events = [event for event in read_journal(path) if event["kind"] == "bar"]
    if not events:
        raise InvalidInput(f"--replay {path}", "holds no bars")
    bars = np.array([event["bar"] for event in events], dtype=np.float64)
    return Recording(
        ts=np.array([event["ts"] for event in events], dtype=np.int64),
        columns={name: np.ascontiguousarray(bars[:, i]) for i, name in enumerate(BAR_INPUTS)},
        mark=np.array([event["mark"] for event in events], dtype=np.float64),
        funding_rate=np.array([event["funding_rate"] for event in events], dtype=np.float64),
    )


def _from_lake(folder: Path, settings: Settings, bundle: Bundle) -> Recording:
    lake, instrument, interval = Lake(folder), bundle.instrument, bundle.spec.base_interval
    where = (instrument.venue, instrument.market, instrument.symbol)
    held_from, held_to = bundle.window["start_ns"], bundle.window["end_ns"]
    asked = (held_from, held_to) if settings.start is None else time_range(settings.start, settings.end)
    # A range within the hold-out is reached from its begin, so that it meets the backtest as it stood there.
    start, end = (held_from if held_from < asked[0] < asked[1] <= held_to else asked[0]), asked[1]
    bars = lake.bars(*where, interval, start=start, end=end)
    funding = lake.funding(*where) if instrument.market == "linear" else None
    try:
        mark = lake.mark(*where, interval, start=start, end=end) if instrument.market == "linear" else None
    except NotInLake:  # the engine then charges funding on the bar's open, in research as here
        mark = None
    whole = (start, end) if held_from <= start < end <= held_to else (None, None)
    recording = _recording(bars, mark, funding, interval, *whole)
    return replace(recording, ahead=(asked[0] - start) // interval_ns(interval))


def _from_file(path: Path, settings: Settings, bundle: Bundle) -> Recording:
    bars = conform(_parquet(path), "bars", str(path))
    if settings.funding is None and bundle.instrument.market == "linear":
        raise InvalidInput("--funding", "is required with a file of bars: a perpetual pays funding")
    funding = (
        None if settings.funding is None else conform(_parquet(settings.funding), "funding", str(settings.funding))
    )
    return _recording(bars, None, funding, bundle.spec.base_interval, None, None)


def _parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _recording(
    bars: pl.DataFrame, mark: pl.DataFrame | None, funding: pl.DataFrame | None, interval: str,
    start_ns: int | None, end_ns: int | None,
) -> Recording:  # fmt: skip
    bars = on_clock(bars, interval, start_ns, end_ns)
    if bars.is_empty():
        raise InvalidInput("--replay", "holds no bars in the range asked for")
    ts, step = epoch_ns(bars), interval_ns(interval)
    marks = np.full(ts.size, np.nan)
    if mark is not None and not mark.is_empty():
        marks = arrays(on_clock(mark, interval, int(ts[0]), int(ts[-1]) + step), ["open"])[0]
    rates = np.zeros(ts.size) if funding is None else funding_per_bar(ts, step, funding)[0]
    return Recording(ts, dict(zip(BAR_INPUTS, arrays(bars, BAR_INPUTS), strict=True)), marks, rates)
