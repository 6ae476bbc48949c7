"""Where stages read and write: one root, fixed names below it, deterministic bytes. It computes nothing."""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.params import Params, load_params
from research.errors import InvalidInput, PlatformError
from research.market.lake import Lake

REPORTS = "data/reports"


@dataclass(frozen=True)
class Workspace:
    """Files of one run of the pipeline.

    Parameters
    ----------
    root : Path
        The repository, or any folder for a run beside it.
    """

    root: Path = Path(".")

    @property
    def lake(self) -> Lake:
        """The Parquet lake that ``ingest`` fills."""
        return Lake(self.root / "data/lake")

    @property
    def clean(self) -> Lake:
        """The lake of the traded series after quality rules, which backtest and replay read."""
        return Lake(self.root / "data/clean")

    def path(self, name: str) -> Path:
        """Return the path of a file below the root, its folder made."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that takes the place of ``name`` when the block ends well, and not otherwise."""
        place = self.path(name)
        fresh, old = place.with_name(f".{place.name}.new"), place.with_name(f".{place.name}.old")
        for left in (fresh, old):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir()
        try:
            yield fresh
            if place.exists():
                os.replace(place, old)
            os.replace(fresh, place)
        finally:
            for left in (fresh, old):
                shutil.rmtree(left, ignore_errors=True)

    def write_bytes(self, name: str, content: bytes) -> None:
        """Replace a file as a whole: a reader sees the old bytes or the new ones."""
        path = self.path(name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content)
        os.replace(temporary, path)

    def read_bytes(self, name: str) -> bytes:
        """Return a file's content.

        Raises
        ------
        InvalidInput
            If it is not there: the stage that makes it has not run.
        """
        path = self.root / name
        if not path.is_file():
            raise InvalidInput(str(path), "is missing: run the stages before this one (dvc repro)")
        return path.read_bytes()

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write JSON in the order given (that of feature columns matters); NaN and infinities become null."""
        text = json.dumps(_plain(values), indent=1, allow_nan=False)
        self.write_bytes(name, text.encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what :meth:`write_json` wrote."""
        return json.loads(self.read_bytes(name))

    def write_frame(self, name: str, frame: pl.DataFrame) -> None:
        """Write a frame as Parquet, or as CSV where the name ends so."""
        buffer = io.BytesIO()
        if name.endswith(".csv"):
            frame.write_csv(buffer)
        else:
            frame.write_parquet(buffer, compression="zstd", statistics=False)
        self.write_bytes(name, buffer.getvalue())

    def read_frame(self, name: str) -> pl.DataFrame:
        """Return a frame written by :meth:`write_frame`."""
        content = io.BytesIO(self.read_bytes(name))
        return pl.read_csv(content) if name.endswith(".csv") else pl.read_parquet(content)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level of dotted keys.

    Examples
    --------
    >>> flat({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return found


def stage_main(run: Callable[[Params, Workspace], None], argv: Sequence[str] | None = None) -> None:
    """Run one stage from the command line: ``python -m pipelines.STAGE [--params F] [--root D] [--set k=v]``."""
    params, workspace = stage_arguments(run.__module__, argv)
    try:
        run(params, workspace)
    except PlatformError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def stage_arguments(description: str, argv: Sequence[str] | None = None) -> tuple[Params, Workspace]:
    """Return parameters and workspace named on a command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", default="params.yaml", help="parameter file")
    parser.add_argument("--root", default=".", type=Path, help="folder that data/ and models/ are written below")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a parameter")
    arguments = parser.parse_args(argv)
    try:
        return load_params(arguments.params, arguments.set), Workspace(arguments.root)
    except (PlatformError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
