"""Open a market-data file, packed or not, as a lazy table. It knows no layout and converts no value."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from research.errors import CorruptFile, InvalidInput, SchemaMismatch

TABLES = {".parquet": "parquet", ".pq": "parquet", ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc"}
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError)
_TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class RawTable:
    """A table as it lies in a file.

    Parameters
    ----------
    frame : polars.LazyFrame
        Text columns where ``is_text``; the file's own types otherwise.
    columns : tuple of str
        Names in the file's order; ``column_1``, ``column_2``… where it has no header.
    first : tuple of str
        Fields of the first line, header or not; empty where not text.
    is_text, has_header : bool
        A CSV; a CSV whose first line holds names.
    """

    frame: pl.LazyFrame
    columns: tuple[str, ...]
    first: tuple[str, ...]
    is_text: bool
    has_header: bool


def require_file(path: Path) -> None:
    """Refuse a path that is not a file."""
    if not path.is_file():
        raise InvalidInput("path", "must be an existing file", str(path))


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Open a file for reading through ``.gz`` or ``.zip`` (of one member).

    Raises
    ------
    CorruptFile
        If the packing is damaged or cut short, also when that shows only while reading inside the block.
    """
    require_file(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".gz":
            with gzip.open(path, "rb") as stream:
                yield stream
        elif suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.infolist() if not m.is_dir()]
                if len(members) != 1:
                    raise SchemaMismatch(str(path), "must hold one file; it holds", [m.filename for m in members])
                with archive.open(members[0]) as stream:
                    yield stream
        else:
            with path.open("rb") as stream:
                yield stream
    except DAMAGED as error:
        raise CorruptFile(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def raw_table(path: Path) -> RawTable:
    """Return a CSV (also ``.gz``, ``.zip``), Parquet or feather file as a lazy table.

    A CSV that is not packed is scanned where it lies, so that only the columns asked for are held; a packed one is
    unpacked into memory first, which also proves its checksum.

    Raises
    ------
    CorruptFile
        If the file cannot be read, is empty, or its last line is cut short.
    """
    require_file(path)
    form = TABLES.get(path.suffix.lower())
    if form is None:
        return _csv(path)
    try:
        frame = pl.scan_parquet(path) if form == "parquet" else pl.read_ipc(io.BytesIO(path.read_bytes())).lazy()
        return RawTable(frame, tuple(frame.collect_schema()), (), is_text=False, has_header=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} is not a readable {form} file: {_line(error)}") from error


def collect(table: RawTable, columns: list[pl.Expr], path: Path) -> pl.DataFrame:
    """Return some columns of a table, lines that hold nothing in any of them left out.

    Raises
    ------
    CorruptFile
        If a line has too many fields or a page cannot be read.
    SchemaMismatch
        If a value is not of the type asked for.
    """
    frame = table.frame.select(columns)
    if table.is_text:
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    try:
        return frame.collect(engine="streaming")
    except pl.exceptions.InvalidOperationError as error:
        raise SchemaMismatch(str(path), f"holds a value of another type: {_line(error)}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read: {_line(error)}") from error


def _csv(path: Path) -> RawTable:
    packed = path.suffix.lower() in (".gz", ".zip")
    with unpacked(path) as stream:
        source: bytes | Path = stream.read() if packed else path
        head = source[:_TAIL_BYTES] if isinstance(source, bytes) else stream.read(_TAIL_BYTES)
    tail = source[-_TAIL_BYTES:] if isinstance(source, bytes) else _tail(path)
    try:
        line = head.decode("utf-8-sig").partition("\n")[0].rstrip("\r")
        last = tail.rstrip(b"\r\n").rpartition(b"\n")[2].decode("utf-8", errors="replace")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path} is not text in UTF-8: {error}") from error
    if not line.strip():
        raise CorruptFile(f"{path} is empty, or its first line is")
    separator = max(",;\t|", key=line.count)
    first = tuple(field.strip() for field in next(csv.reader([line], delimiter=separator)))
    if '"' not in last and last.count(separator) != line.count(separator):
        found, wanted = last.count(separator) + 1, len(first)
        raise CorruptFile(f"{path} is cut short or no table: its last line has {found} fields, its first {wanted}")
    has_header = not first[0][:1].isdigit() and not first[0][:2].lstrip("+-").isdigit()
    try:
        # infer_schema=False: all text, so that no number is read through a guess made from the first hundred lines.
        frame = pl.scan_csv(source, has_header=has_header, separator=separator, infer_schema=False)
        names = tuple(frame.collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptFile(f"{path} cannot be read: {_line(error)}") from error
    return RawTable(frame, names, first, is_text=True, has_header=has_header)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return stream.read()
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
