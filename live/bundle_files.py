"""Exported bundles on disk: ``promoted/NAME/VERSION/`` and ``promoted/NAME/aliases.json``. It never asks a registry."""

from __future__ import annotations

import json
from pathlib import Path

from research.bundle import Bundle
from research.errors import InvalidInput, NotInLake


def load_bundle(reference: str, promoted: Path) -> tuple[Bundle, str]:
    """Return a bundle and its version.

    Parameters
    ----------
    reference : str
        ``NAME@ALIAS`` or ``NAME@VERSION``.
    promoted : Path
        Folder that ``python -m pipelines.promote`` exports to.

    Raises
    ------
    NotInLake
        If nothing is exported under that name.
    InvalidInput
        If the reference is malformed or a file was altered.
    """
    name, at, selector = reference.partition("@")
    if not (name and at and selector) or "/" in reference or "\\" in reference or ".." in reference:
        raise InvalidInput("--bundle", "must look like NAME@champion or models:/NAME@champion", reference)
    folder = promoted / name
    aliases = folder / "aliases.json"
    known = json.loads(aliases.read_text()) if aliases.is_file() else {}
    version = str(known.get(selector, selector))
    if not (folder / version).is_dir():
        found = ", ".join(f"{alias} → {v}" for alias, v in sorted(known.items())) or "none"
        raise NotInLake(f"{reference}: no such bundle below {promoted} (aliases: {found}); promote one first")
    return read_bundle(folder / version), version


def read_bundle(folder: Path) -> Bundle:
    """Return the bundle whose files are below ``folder``."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return Bundle.from_files(files)
