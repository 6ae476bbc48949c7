"""A backtest's result as a folder of files, whole or not at all. It computes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from research.backtest import Result
from research.errors import InvalidInput


def write_result(result: Result, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a result's tables and settings below a folder.

    They are written beside it first and take its place in one move: a reader finds the old result or the new one.

    Parameters
    ----------
    result : Result
    folder : str or Path
        Made where it is missing.
    overwrite : bool
        Whether a result that is there may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InvalidInput
        If the folder is not empty and ``overwrite`` is not set, or if it holds what no result has: nothing of it is
        touched.
    """
    place, files = Path(folder), result.to_files()
    if place.exists() and not place.is_dir():
        raise InvalidInput(str(place), "must be a folder")
    found = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    if found and not overwrite:
        raise InvalidInput(str(place), "must be empty or not exist (overwrite=True replaces a result)", found)
    others = [name for name in found if name not in files]
    if others:
        raise InvalidInput(str(place), "must hold nothing but a result to be overwritten", others)
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (place.with_name(f".{place.name}.{os.getpid()}.{state}") for state in ("new", "old"))
    for left in (fresh, old):  # of a write that was killed
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir()
    try:
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if place.exists():
            os.replace(place, old)
        try:
            os.replace(fresh, place)
        except OSError:
            if old.exists():
                os.replace(old, place)
            raise
    finally:
        for left in (fresh, old):
            shutil.rmtree(left, ignore_errors=True)
    return place


def read_result(folder: str | Path) -> Result:
    """Return the result that :func:`write_result` wrote.

    Raises
    ------
    InvalidInput
        If there is no such folder.
    SchemaMismatch
        If it does not hold a result of this layout.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InvalidInput(str(place), "is missing or no folder")
    return Result.from_files({path.name: path.read_bytes() for path in place.iterdir() if path.is_file()})
