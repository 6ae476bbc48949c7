"""Exported bundles on disk: ``promoted/NAME/VERSION/`` and ``promoted/NAME/index.json``. It never asks a registry."""

from __future__ import annotations

import json
from pathlib import Path

from research.bundle import Bundle, manifest_sha256
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
    aliases, hashes = _index(folder / "index.json")
    version = aliases.get(selector, selector)
    if not (folder / version).is_dir():
        found = ", ".join(f"{alias} → {v}" for alias, v in sorted(aliases.items())) or "none"
        raise NotInLake(f"{reference}: no such bundle below {promoted} (aliases: {found}); promote one first")
    return read_bundle(folder / version, hashes.get(version, "")), version


def read_bundle(folder: Path, expected: str) -> Bundle:
    """Return the bundle whose files are below ``folder``.

    Parameters
    ----------
    expected : str
        SHA-256 of its manifest, as told by whoever named the bundle.
    """
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    bundle = Bundle.from_files(files)
    if manifest_sha256(files) != expected:
        raise InvalidInput(f"{folder}/manifest.json", "does not match the hash it was promoted with: it was altered")
    return bundle


def _index(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return alias to version and version to hash of the manifest; both empty where nothing was promoted."""
    if not path.is_file():
        return {}, {}
    try:
        index = json.loads(path.read_bytes())
        found = tuple({str(k): str(v) for k, v in index[part].items()} for part in ("aliases", "manifest_sha256"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        rule = f"must map aliases to versions and versions to hashes: {type(error).__name__} {error}"
        raise InvalidInput(str(path), rule) from error
    return found[0], found[1]
