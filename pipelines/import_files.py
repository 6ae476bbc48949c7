"""Command ``python -m pipelines.import_files``: market-data files into a lake. It is no DVC stage and opens no socket.

    python -m pipelines.import_files --venue binance --market linear --symbol FILUSDT --kind bars --interval 1m \
        FILUSDT-1m-2023-*.zip

Importing a file again changes nothing. A file that cannot be read is reported and the others are still imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from tqdm import tqdm

from pipelines.summary import table_text
from research.errors import InvalidInput, PlatformError
from research.market.bars import OPTIONAL
from research.market.lake import Lake
from research.market.lake_rows import WriteReport
from research.market.sources.file_layouts import LAYOUTS
from research.market.sources.files import read_bars, read_book, read_funding, read_mark, read_trades

KINDS = (*LAYOUTS, "book")


def read_file(path: Path, given: argparse.Namespace) -> pl.DataFrame:
    """Return one file as the command's options say."""
    if given.kind == "book":
        return read_book(path, symbol=given.file_symbol or given.symbol)
    common = {
        "utc_offset_hours": given.utc_offset_hours,
        "columns": _columns(given.column),
        "symbol": given.file_symbol or given.symbol,  # refuses a file that says it is of another
    }
    if given.kind in ("bars", "mark"):
        read = read_bars if given.kind == "bars" else read_mark
        return read(path, given.layout, given.time_unit, interval=given.interval, **common)
    if given.kind == "funding":
        return read_funding(path, given.layout, given.time_unit, interval_hours=given.interval_hours, **common)
    return read_trades(path, given.layout, given.time_unit, **common)


def import_file(lake: Lake, path: Path, given: argparse.Namespace) -> tuple[WriteReport, pl.DataFrame]:
    """Write one file to the lake and return what that did, and the rows.

    Optional columns that the file does not have are left out of the write, so that they do not replace the values of
    another source.
    """
    rows = read_file(path, given)
    absent = [c for c in OPTIONAL.get(given.kind, set()) if rows[c].null_count() == rows.height]
    return lake.write(rows.drop(absent), given.venue, given.market, given.symbol, given.kind, given.interval), rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 all imported, 1 a file failed, 130 interrupted."""
    given = _parser().parse_args(argv)
    if (given.kind in ("bars", "mark")) != (given.interval is not None):
        sys.stderr.write("--interval is required for bars and mark, and refused for the others\n")
        return 2
    lake, outcomes, status = Lake(given.lake), [], 0
    paths = [Path(p) for p in given.paths]
    for path in tqdm(paths, unit="file", disable=None, leave=False):
        row = {
            "file": path.name,
            "added": 0,
            "replaced": 0,
            "unchanged": 0,
            "first": "",
            "last": "",
            "status": "imported",
        }
        outcomes.append(row)
        try:
            report, rows = import_file(lake, path, given)
        except KeyboardInterrupt:
            row["status"], status = "interrupted; the same command imports the rest", 130
            break
        except PlatformError as error:
            row["status"], status = f"{type(error).__name__}: {error}", 1
            continue
        row |= {"added": report.rows_added, "replaced": report.rows_replaced, "unchanged": report.rows_unchanged}
        if not rows.is_empty():
            row |= {"first": f"{rows['ts'][0]:%Y-%m-%d %H:%M}", "last": f"{rows['ts'][-1]:%Y-%m-%d %H:%M}"}
    sys.stdout.write(f"{table_text(pl.DataFrame(outcomes))}\n")
    return status


def _columns(pairs: Sequence[str]) -> dict[str, str] | None:
    """Return ``ours=theirs`` pairs as a mapping."""
    for pair in pairs:
        if "=" not in pair:
            raise InvalidInput("--column", "must look like ts=Open Time", pair)
    return {ours: theirs for ours, _, theirs in (pair.partition("=") for pair in pairs)} or None


def _parser() -> argparse.ArgumentParser:
    layouts = sorted({layout.name for choices in LAYOUTS.values() for layout in choices})
    parser = argparse.ArgumentParser(prog="python -m pipelines.import_files", description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--venue", required=True)
    parser.add_argument("--market", required=True)
    parser.add_argument("--symbol", required=True, help="as it is to be called in the lake")
    parser.add_argument("--kind", required=True, choices=KINDS)
    parser.add_argument("--interval", help="of bars and mark")
    parser.add_argument("--layout", default="auto", choices=["auto", *layouts])
    parser.add_argument("--time-unit", choices=["s", "ms", "us", "ns"])
    parser.add_argument("--utc-offset-hours", type=float, help="clock of times written without a zone; 0 is UTC")
    parser.add_argument("--interval-hours", type=float, help="of every funding row; else told from the times")
    parser.add_argument("--column", action="append", default=[], metavar="OURS=THEIRS")
    parser.add_argument("--file-symbol", help="what the symbol is called inside the file, where it says it otherwise")
    parser.add_argument("--lake", default="data/downloads", help="folder; stage ingest reads it, and clears data/lake")
    return parser


if __name__ == "__main__":
    sys.exit(main())
