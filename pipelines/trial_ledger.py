"""The ledger of trials in a folder of Parquet files, each written once and never changed. It evaluates no trial.

Every append is one file that appears whole or not at all, so that a kill loses at most what was being appended, and
several processes append at once without waiting for each other. The folder is nobody's output: ``git`` ignores all of
``data/``, no DVC stage has it as an output (``dvc repro`` removes outputs before it runs a stage), and ``make clean``
leaves it. What was tried stays counted until somebody removes the folder by name.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from pathlib import Path

import polars as pl

from pipelines.params import Params
from pipelines.workspace import Workspace
from research.errors import CorruptFile, InvalidInput, PlatformError
from research.validation.trial_ledger import TrialLedger

FOLDER = "data/trials"
# Place in the order, process that wrote it, and the beginning of the SHA-256 of its bytes. Without the hash, of 60 bits
# flipped in a file of 2,000 trials Parquet noticed none, and all were read as other returns.
_NAME = re.compile(r"(\d{8})-\d+-([0-9a-f]{16})\.parquet")
_LAST = 99_999_999


class LedgerFolder:
    """A ledger on disk that only grows.

    Parameters
    ----------
    path : str or Path
        Folder; made by the first append.

    Notes
    -----
    Files are named by their place in the order and by a hash of their bytes: a file that was cut off, changed or
    renamed is found by name. Copying the files of another machine into the folder merges the two; a file that is in
    both has one name and counts once.
    """

    def __init__(self, path: str | Path = FOLDER) -> None:
        self.path = Path(path)

    def append(self, ledger: TrialLedger) -> Path | None:
        """Add trials, as one new file.

        Parameters
        ----------
        ledger : TrialLedger
            What was tried since the last append, not what :meth:`read` returned: looks add up.

        Returns
        -------
        Path or None
            The file; None for an empty ledger, of which nothing is written.

        Raises
        ------
        InvalidInput
            If the folder has no number left for another file.
        """
        if not ledger.count():
            return None
        buffer = io.BytesIO()
        ledger.frame.write_parquet(buffer, compression="zstd", statistics=False)
        content = buffer.getvalue()
        self.path.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).hexdigest()
        beside = self.path / f".{digest[:16]}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            placed = self._place(beside, digest)
        finally:
            beside.unlink(missing_ok=True)
        _sync(self.path)
        return placed

    def _place(self, beside: Path, digest: str) -> Path:
        """Give a complete file its name, which nobody else has: a link, unlike a rename, replaces nothing."""
        number = max((int(name[:8]) for name in self._names()), default=-1) + 1
        while number <= _LAST:
            place = self.path / f"{number:08d}-{os.getpid()}-{digest[:16]}.parquet"
            try:
                os.link(beside, place)
            except FileExistsError:  # the same batch again from this process: another look
                number += 1
            except OSError:  # a file system without links; the process in the name keeps others away
                os.replace(beside, place)
                return place
            else:
                return place
        raise InvalidInput(str(self.path), f"must have a number up to {_LAST} left for another file", number)

    def files(self) -> list[Path]:
        """Return the ledger's files in order."""
        return [self.path / name for name in self._names()]

    def read(self) -> TrialLedger:
        """Return all trials; an empty ledger where there is no folder.

        Raises
        ------
        CorruptFile
            If a file is not what was written: cut off, changed, or no file of this ledger. It names the file.
        """
        parts = []
        for file in self.files():
            content = file.read_bytes()
            match = _NAME.fullmatch(file.name)
            if match is None or hashlib.sha256(content).hexdigest()[:16] != match[2]:
                raise CorruptFile(f"{file}: is not what was written (cut off or changed): restore or remove it")
            try:
                parts.append(TrialLedger(pl.read_parquet(io.BytesIO(content))))
            except (pl.exceptions.PolarsError, PlatformError) as error:  # whole, but by another version
                raise CorruptFile(f"{file}: holds no trials of this version: {error}") from error
        return TrialLedger().merge(*parts)

    def _names(self) -> list[str]:
        """Return the names of all Parquet files, sorted; what a killed process left beside them is none."""
        if not self.path.is_dir():
            return []
        found = sorted(p.name for p in self.path.iterdir() if p.suffix == ".parquet")
        for name in found:
            if _NAME.fullmatch(name) is None:
                raise CorruptFile(f"{self.path / name}: is not named as a file of the ledger: remove it")
        return found


def _sync(folder: Path) -> None:
    """Make the names in a folder last, where folders can be opened for that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def market_name(params: Params) -> str:
    """Return what is traded, as the ledger names it; all trials on it count together, whatever the days and clocks."""
    market = params.market
    return "/".join((market.venue, market.market, market.symbol))


def build_ledger(workspace: Workspace) -> TrialLedger:
    """Return the trials of this build's search and walk-forward."""
    parts = [TrialLedger(workspace.read_frame(f"data/{stage}/ledger.parquet")) for stage in ("search", "walk_forward")]
    return parts[0].merge(parts[1])


def ledger_folder(workspace: Workspace) -> LedgerFolder:
    """Return the ledger of all builds, notebooks and commands of a workspace.

    In the copy that ``dvc exp run --queue`` works in, it is that of the checkout: the copy is thrown away.
    """
    root = workspace.root.resolve()
    outer = [parent.parent for parent in (root, *root.parents) if parent.name == ".dvc"]
    return LedgerFolder((outer[-1] if outer else root) / FOLDER)


def all_trials(params: Params, workspace: Workspace) -> TrialLedger:
    """Return every trial known of the traded market: those of the folder, and of this build where it has them not."""
    known = ledger_folder(workspace).read().merge(build_ledger(workspace))
    return known.select(data_prefix=f"{market_name(params)}:")
