"""Bundles of the MLflow registry, asked for by ``models:/NAME@ALIAS``. The only part of live that loads mlflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from live.bundle_files import read_bundle
from live.settings import tracking_uri
from research.bundle import Bundle
from research.errors import InvalidInput, NotInLake


def download_bundle(reference: str) -> tuple[Bundle, str]:
    """Return a registered bundle and its version.

    Parameters
    ----------
    reference : str
        ``models:/NAME@ALIAS``.

    Raises
    ------
    NotInLake
        If the registry has no such name or alias.
    """
    name, at, alias = reference.removeprefix("models:/").partition("@")
    if not (name and at and alias):
        raise InvalidInput("--bundle", "must look like models:/NAME@champion", reference)
    import mlflow  # 6 s and 350 MB, against 2.5 s and 221 MB for the exported bundle: only where it is asked for
    from mlflow.exceptions import MlflowException

    uri = tracking_uri()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise NotInLake(f"{reference}: there is no registry at {uri}")  # asking would make an empty one
    mlflow.set_tracking_uri(uri)
    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
        with tempfile.TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(version.source, dst_path=folder)
            return read_bundle(Path(path), version.tags.get("bundle_sha256", "")), str(version.version)
    except MlflowException as error:
        raise NotInLake(f"{reference}: not in the registry at {uri}: {error.message}") from error
