"""Command ``python -m pipelines.download``: Bybit's public history into a lake. It is no DVC stage and needs no key.

    python -m pipelines.download --symbols SOLUSDT,BTCUSDT --interval 1m --start 2024-01-01 --end 2024-07-01

Only what the lake does not hold is asked for, so the same command goes on where it was stopped, and fills gaps. Its
lake is ``data/downloads``: stage ``ingest`` clears ``data/lake`` and fills it from there (``ingest.source: lake``).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from tqdm import tqdm

from pipelines.summary import table_text
from research.errors import InvalidInput, NotInLake, PlatformError
from research.kernel import IntArray
from research.market.bars import NS_PER_MS, epoch_ns, interval_ns
from research.market.funding_rows import NS_PER_HOUR, funding_holes
from research.market.instruments import Instrument
from research.market.lake import Lake
from research.market.lake_rows import WriteReport, time_ns
from research.market.sources.bybit import CONTEXT_NS, KINDS, MARKETS, VENUE, BybitSource

PAGES_PER_WRITE = 20  # a write rewrites its month: one per page would write 45 times what one per 20 pages does
NEAR_ROWS = 500  # stretches closer than this are asked for as one
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Series:
    """One series to download."""

    market: str
    symbol: str
    kind: str
    interval: str | None


@dataclass(slots=True)
class Outcome:
    """What became of a series."""

    series: Series
    report: WriteReport
    status: str = "complete"


def missing_ranges(lake: Lake, series: Series, start_ns: int, end_ns: int) -> list[Range]:
    """Return what of ``[start, end)`` the lake does not hold, oldest first.

    The newest stored row always counts as missing: it was fetched right after it closed, when the exchange may
    still have been summing up. Of funding, which has no grid, the rows that decide about intervals are asked again.

    Parameters
    ----------
    lake : Lake
        What there is.
    series : Series
        What is wanted.
    start_ns, end_ns : int
        First ``ts`` wanted and the one after the last.

    Returns
    -------
    list of (int, int)
        Disjoint ranges, start inclusive, end exclusive.
    """
    if start_ns >= end_ns:
        return []
    where = (VENUE, series.market, series.symbol, series.kind, series.interval)
    columns = ["ts", "interval_hours"] if series.kind == "funding" else ["ts"]
    try:
        stored = lake.scan(*where, start=start_ns, end=end_ns).select(columns).collect()
    except NotInLake:
        return [(start_ns, end_ns)]
    if stored.is_empty():
        return [(start_ns, end_ns)]
    if series.kind == "funding":
        return _funding_ranges(stored, start_ns, end_ns)
    return _grid_ranges(epoch_ns(stored), interval_ns(str(series.interval)), start_ns, end_ns)


def _grid_ranges(ts: IntArray, step: int, start_ns: int, end_ns: int) -> list[Range]:
    first = -(-start_ns // step) * step
    count = max(0, -(-(end_ns - first) // step))
    absent = np.ones(count, dtype=bool)
    absent[(ts[:-1] - first) // step] = False
    edges = np.flatnonzero(np.diff(absent, prepend=False, append=False)).reshape(-1, 2)
    ranges: list[Range] = []
    for low, high in (first + edges * step).tolist():
        if ranges and low - ranges[-1][1] <= NEAR_ROWS * step:
            ranges[-1] = (ranges[-1][0], min(high, end_ns))
        else:
            ranges.append((low, min(high, end_ns)))
    return ranges


def _funding_ranges(stored: pl.DataFrame, start_ns: int, end_ns: int) -> list[Range]:
    ts = epoch_ns(stored)
    ranges = [(start_ns, int(ts[0]))] if ts[0] > start_ns else []
    alone = np.flatnonzero(funding_holes(ts, stored["interval_hours"].to_numpy()))
    ranges += [(int(ts[i - 1]) + 1, int(ts[i])) for i in alone]
    last = (max(start_ns, int(ts[-1]) - CONTEXT_NS), end_ns)
    return [(low, min(high, last[0])) for low, high in ranges if low < last[0]] + [last]


def download_ranges(
    source: BybitSource,
    lake: Lake,
    series: Series,
    ranges: Sequence[Range],
    *,
    progress: Callable[[int], None],
    wrote: Callable[[WriteReport], None],
) -> None:
    """Fetch ranges of a series and write them to the lake.

    Parameters
    ----------
    source : BybitSource
        Where from.
    lake : Lake
        Where to.
    series : Series
        What.
    ranges : sequence of (int, int)
        As of :func:`missing_ranges`.
    progress : callable
        Told the nanoseconds of each window that was fetched.
    wrote : callable
        Told what each write did.

    Notes
    -----
    Pages come oldest first and are written in that order, also those in hand when an error or Ctrl-C ends it: what the
    lake then has of a range is one gapless stretch from its start, and the same command goes on at its end.
    """
    for low, high in ranges:
        held: list[pl.DataFrame] = []
        try:
            for page in source.pages(
                series.kind, series.symbol, low, high, market=series.market, interval=series.interval
            ):
                held.append(page.frame)
                progress(page.end_ns - page.start_ns)
                if len(held) == PAGES_PER_WRITE:
                    wrote(_write(lake, series, held))
                    held = []
        finally:
            wrote(_write(lake, series, held))


def _write(lake: Lake, series: Series, frames: Sequence[pl.DataFrame]) -> WriteReport:
    rows = [frame for frame in frames if not frame.is_empty()]
    if not rows:
        return WriteReport()
    return lake.write(pl.concat(rows), VENUE, series.market, series.symbol, series.kind, series.interval)


def update_instrument(
    source: BybitSource, lake: Lake, market: str, symbol: str, now_ns: int, fees: tuple[float | None, float | None]
) -> bool:
    """Store today's terms of an instrument and return whether anything changed.

    The first terms are dated from the beginning, as the exchange shows no older ones; terms that differ from the newest
    stored ones are appended, dated now. Fees are not public: stated ones count, else those stored, else the defaults.
    """
    try:
        stored: Instrument | None = lake.instrument(VENUE, market, symbol)
    except NotInLake:
        stored = None
    newest = stored.terms[-1] if stored else None
    taker = newest.taker_fee_bps if newest and fees[0] is None else fees[0]
    maker = newest.maker_fee_bps if newest and fees[1] is None else fees[1]
    found = source.instrument(market, symbol, taker_fee_bps=taker, maker_fee_bps=maker)
    if stored is None or newest is None:
        return lake.write_instrument(found)
    terms = found.terms[-1]
    if replace(terms, from_ns=newest.from_ns) == newest:
        return False
    return lake.write_instrument(replace(found, terms=(*stored.terms, replace(terms, from_ns=now_ns))))


def main(
    argv: Sequence[str] | None = None,
    *,
    now_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run the command and return its exit status: 0 complete, 1 something failed, 130 interrupted."""
    given = _parser().parse_args(argv)
    try:
        start_ns = time_ns(given.start, "--start")
        end_ns = time_ns(given.end, "--end") if given.end else now_ms() * NS_PER_MS
        wanted = _wanted(given)
        source = BybitSource(
            given.endpoint,
            now_ms=now_ms,
            sleep=sleep,
            # Jitter keeps commands started together from trying again together; it never touches a row.
            rng=np.random.default_rng(os.getpid()),
            requests_per_second=given.requests_per_second,
        )
    except PlatformError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    lake, outcomes, status = Lake(given.lake), [], 0
    fees = (given.taker_fee_bps, given.maker_fee_bps)
    with source:
        for series in wanted:
            outcome = Outcome(series, WriteReport())
            outcomes.append(outcome)
            try:
                _run(source, lake, outcome, start_ns, end_ns, now_ms() * NS_PER_MS, fees)
            except KeyboardInterrupt:
                outcome.status, status = "interrupted; the same command goes on from here", EXIT_INTERRUPTED
                break
            except PlatformError as error:
                outcome.status, status = f"{type(error).__name__}: {error}", EXIT_FAILED
    try:
        sys.stdout.write(f"{_summary(lake, outcomes)}\n")
    except PlatformError as error:  # a damaged file of any series in the lake
        sys.stderr.write(f"{error}\n")
        return status or EXIT_FAILED
    return status


def _run(
    source: BybitSource,
    lake: Lake,
    outcome: Outcome,
    start_ns: int,
    end_ns: int,
    now_ns: int,
    fees: tuple[float | None, float | None],
) -> None:
    series = outcome.series
    if series.kind == "instrument":
        changed = update_instrument(source, lake, series.market, series.symbol, now_ns, fees)
        outcome.status = "stored" if changed else "unchanged"
        return
    ranges = missing_ranges(lake, series, start_ns, min(end_ns, now_ns))
    label = " ".join(filter(None, (series.symbol, series.kind, series.interval)))
    total, done = sum(high - low for low, high in ranges), 0
    with tqdm(total=round(total / NS_PER_HOUR), desc=label, unit="h", disable=None, leave=False) as bar:

        def progress(ns: int) -> None:
            nonlocal done
            done += ns
            bar.update(round(done / NS_PER_HOUR) - bar.n)

        def wrote(report: WriteReport) -> None:
            outcome.report += report

        download_ranges(source, lake, series, ranges, progress=progress, wrote=wrote)


def _wanted(given: argparse.Namespace) -> list[Series]:
    symbols = [s for s in given.symbols.split(",") if s]
    linear = given.market == "linear"
    kinds = given.kinds.split(",") if given.kinds else ["instrument", "bars", *(["mark", "funding"] if linear else [])]
    unknown = [k for k in kinds if k not in (*KINDS, "instrument")]
    if unknown:
        raise InvalidInput("--kinds", f"must be among instrument, {', '.join(KINDS)}", unknown[0])
    if not symbols:
        raise InvalidInput("--symbols", "must name at least one", given.symbols)
    intervals = {"bars": given.interval, "mark": given.interval}
    intervals |= dict.fromkeys(("open_interest", "long_short_ratio"), given.period)
    return [Series(given.market, symbol, kind, intervals.get(kind)) for symbol in symbols for kind in kinds]


def _summary(lake: Lake, outcomes: Sequence[Outcome]) -> str:
    rows = [
        {
            "symbol": o.series.symbol, "kind": o.series.kind, "interval": o.series.interval or "",
            "added": o.report.rows_added, "replaced": o.report.rows_replaced, "unchanged": o.report.rows_unchanged,
            "status": o.status,
        }
        for o in outcomes
    ]  # fmt: skip
    stored = lake.series().filter(venue=VENUE, market=outcomes[0].series.market).select(
        "symbol", "kind", pl.col("interval").fill_null(""), pl.col("rows").alias("stored"),
        pl.col("first_ts", "last_ts").dt.to_string("%Y-%m-%d %H:%M"),
    )  # fmt: skip
    table = pl.DataFrame(rows).join(stored, on=["symbol", "kind", "interval"], how="left", maintain_order="left")
    return table_text(table.select(pl.exclude("status"), "status").with_columns(pl.col(pl.String).fill_null("")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.download", description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", required=True, help="as Bybit writes them, separated by commas")
    parser.add_argument("--market", choices=MARKETS, default="linear")
    parser.add_argument("--interval", default="1m", help="of bars and mark")
    parser.add_argument("--period", default="1h", help="of open_interest and long_short_ratio")
    parser.add_argument("--start", required=True, help="ISO 8601, UTC; inclusive")
    parser.add_argument("--end", help="exclusive; now where left out")
    parser.add_argument(
        "--kinds", help=f"separated by commas, of instrument, {', '.join(KINDS)}; default instrument,bars,mark,funding"
    )
    parser.add_argument("--lake", default="data/downloads", help="folder; stage ingest reads it, and clears data/lake")
    parser.add_argument("--endpoint", help="another base address than Bybit's main net")
    parser.add_argument("--requests-per-second", type=float, default=20.0)
    parser.add_argument("--taker-fee-bps", type=float, help="of the instrument's terms: fees are not public")
    parser.add_argument("--maker-fee-bps", type=float)
    return parser


if __name__ == "__main__":
    sys.exit(main())
