"""What the runner was asked to do, from the command line and the environment. It opens nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from research.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Settings:
    """One session of the runner.

    Parameters
    ----------
    bundle : str
        ``NAME@ALIAS`` or ``NAME@VERSION`` below ``promoted``, or ``models:/NAME@ALIAS`` of a registry.
    mode : str
        ``paper``: orders are filled by the execution kernels.
    replay : Path
        A lake folder, a Parquet file of bars, or the journal (``.jsonl``) of a session.
    start, end : str or None
        Part of the lake to replay, ISO dates; the bundle's hold-out where both are None.
    funding : Path or None
        Parquet file of funding rows, required where ``replay`` is a file of a perpetual's bars.
    promoted, journal : Path
        Folder of exported bundles; file that the session is written to.
    quiet : bool
        Print the proof and the summary only.
    """

    bundle: str
    mode: str
    replay: Path
    start: str | None
    end: str | None
    funding: Path | None
    promoted: Path
    journal: Path
    quiet: bool


def tracking_uri() -> str:
    """Return the registry's address: ``MLFLOW_TRACKING_URI``, or the project's own store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow/mlflow.db').resolve()}"


def read_settings(argv: Sequence[str] | None = None) -> Settings:
    """Parse the command line; ``PERPETUA_JOURNAL`` names the folder of journals where ``--journal`` does not."""
    parser = argparse.ArgumentParser(
        prog="python -m live.runner",
        description="Run a promoted model. Exit code 3: its decisions differ from research.",
    )
    parser.add_argument("--bundle", required=True, help="NAME@champion, NAME@3 or models:/NAME@champion")
    parser.add_argument("--mode", choices=["paper"], default="paper", help="paper: filled by the execution kernels")
    parser.add_argument(
        "--replay", required=True, type=Path, help="lake folder, Parquet file of bars, or a session's journal (.jsonl)"
    )
    parser.add_argument("--start", help="first day to replay (default: the bundle's hold-out)")
    parser.add_argument("--end", help="day after the last")
    parser.add_argument("--funding", type=Path, help="Parquet file of funding rows, where --replay is a file")
    parser.add_argument("--promoted", type=Path, default=Path("models/promoted"), help="folder of exported bundles")
    parser.add_argument("--journal", type=Path, help="file that every event is written to")
    parser.add_argument("--quiet", action="store_true", help="no live table")
    given = parser.parse_args(argv)
    if (given.start is None) != (given.end is None):
        raise InvalidInput("--start and --end", "must be given together")
    journal = given.journal
    if journal is None:
        folder = Path(os.environ.get("PERPETUA_JOURNAL", "journal"))
        journal = folder / (given.bundle.replace("models:/", "").replace("/", "_") + ".jsonl")
    return Settings(
        given.bundle,
        given.mode,
        given.replay,
        given.start,
        given.end,
        given.funding,
        given.promoted,
        journal,
        given.quiet,
    )
