"""The state of long work in a file, replaced whole or not at all. It knows nothing of what it keeps."""

from __future__ import annotations

import os
from pathlib import Path


class FileCheckpoint:
    """A checkpoint of :class:`research.backtest.Sweep` in one file.

    Parameters
    ----------
    path : str or Path
        Remove the file to begin anew.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def load(self) -> bytes | None:
        """Return what was saved last, None if nothing was."""
        return self.path.read_bytes() if self.path.exists() else None

    def save(self, state: bytes) -> None:
        """Write the state beside the file and put it in its place: a kill leaves the one before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with beside.open("wb") as file:
            file.write(state)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
