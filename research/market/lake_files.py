"""Atomic, durable replacement of files under one writer's lock. It knows nothing of what the files hold.

A file is written beside its target under a hidden name, flushed to the disk and renamed over the target, so that a
reader sees the old file or the new one, whenever the writer dies. Several files are staged first and renamed at
the end: a full disk is met before the first rename.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from research.errors import LakeError

_TEMPORARY = ".tmp"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would exceed the size allowed to this process",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
}


@contextmanager
def lake_errors(action: str, path: Path) -> Iterator[None]:
    """Raise an operating-system error of the body as :class:`LakeError` naming the path and the reason."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise LakeError(f"{path} could not be {action}: {reason}") from error


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory, created if need be, against every other writer of it.

    The advisory lock (``flock``) is on the directory itself, so that no lock file is left among the data; the kernel
    releases it when the writer dies. If the body fails, the directories made for it are removed again.

    Parameters
    ----------
    directory : Path
        On a file system that locks directories: a local one; NFS does not.

    Raises
    ------
    LakeError
        If the directory cannot be made or locked.
    """
    with lake_errors("locked for writing", directory):
        descriptor, created = _lock(directory)
    try:
        yield
    except BaseException:
        for made in reversed(created):
            with suppress(OSError):  # not empty: another writer's series lies below
                made.rmdir()
        raise
    finally:
        os.close(descriptor)


def _lock(directory: Path) -> tuple[int, list[Path]]:
    """Return a descriptor that holds the lock and the directories made.

    A writer that failed may remove the empty directory between our opening and our locking it: then again.
    """
    created: list[Path] = []
    while True:
        created += _make(directory)
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
                    return descriptor, created
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _make(directory: Path) -> list[Path]:
    """Create missing directories durably, outermost first, and return those made; on failure none is left."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    made: list[Path] = []
    try:
        for path in reversed(missing):
            try:
                path.mkdir()
            except FileExistsError:
                if not path.is_dir():
                    raise
                continue
            except FileNotFoundError:  # a failing writer removed the parent: the caller begins again
                break
            made.append(path)
            _sync_directory(path.parent)
    except OSError:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()
        raise
    return made


@contextmanager
def replacing() -> Iterator[Callable[[Path, bytes], None]]:
    """Collect new contents of files and put all of them in place when the body ends without an exception.

    Yields
    ------
    callable
        ``stage(target, content)`` writes and flushes a hidden file beside ``target``.

    Notes
    -----
    Each target is replaced atomically, the group is not: a death between two renames leaves some targets new and
    the others as they were, each whole. Call it only within :func:`locked`.
    """
    staged: list[tuple[Path, Path]] = []

    def stage(target: Path, content: bytes) -> None:
        # The process and thread keep two writers apart should the file system not honour the lock.
        name = f".{target.name}.{os.getpid()}.{threading.get_ident()}{_TEMPORARY}"
        staged.append((target.with_name(name), target))
        _write_durably(staged[-1][0], content)

    try:
        yield stage
        for temporary, target in staged:
            os.replace(temporary, target)
        for directory in dict.fromkeys(target.parent for _, target in staged):
            _sync_directory(directory)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def sweep(directory: Path) -> int:
    """Remove what dead writers left in a directory and return how many files that was.

    Call it only within :func:`locked`: whoever holds the lock knows that no other writer of it lives.
    """
    leftovers = [path for path in directory.iterdir() if path.name.startswith(".") and path.suffix == _TEMPORARY]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
