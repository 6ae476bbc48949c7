"""The session's journal: one JSON line per event, written before the event is acted on. It interprets nothing."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from research.errors import CorruptFile


class Journal:
    """Append-only file of numbered, checksummed events.

    Parameters
    ----------
    path : Path
        Replaced at the start of a session: the journal of a replay is that replay.
    durable : bool
        Force every line to disk. A replay needs none of it: it can be run again.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._durable = durable
        self.count = 0

    def write(self, kind: str, event: Mapping[str, Any]) -> None:
        """Append one event."""
        body = json.dumps({"seq": self.count, "kind": kind, **event}, separators=(",", ":"))
        self._file.write(f"{zlib.crc32(body.encode()):08x} {body}\n")
        self.count += 1
        if self._durable:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush to disk and close."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a journal in order.

    A last line cut short by a crash is left out; anything else that does not match its checksum or number is an error.

    Raises
    ------
    CorruptFile
        If a line in the middle is damaged or missing.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    complete, tail = lines[:-1], lines[-1]
    for number, line in enumerate(complete):
        checksum, _, body = line.partition(" ")
        if checksum != f"{zlib.crc32(body.encode()):08x}":
            if number == len(complete) - 1 and not tail:
                return
            raise CorruptFile(f"{path} line {number + 1}: checksum does not match")
        event = json.loads(body)
        if event["seq"] != number:
            raise CorruptFile(f"{path} line {number + 1}: event {event['seq']} stands where {number} is expected")
        yield event
