"""MLflow: where its store is, what a run says, how a bundle is registered. The only importer of mlflow in pipelines."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipelines.workspace import flat
from research.errors import TrackingError

ROOT = Path(__file__).resolve().parents[1]


def repository() -> Path:
    """Return the real checkout, also from inside the copy that ``dvc exp run --queue`` works in."""
    for parent in ROOT.parents:
        if parent.name == ".dvc":
            return parent.parent
    return ROOT


def tracking_uri() -> str:
    """Return the store's address: ``MLFLOW_TRACKING_URI``, or ``mlflow/mlflow.db`` of the checkout."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{repository() / 'mlflow' / 'mlflow.db'}"


def connect(experiment: str) -> tuple[Any, str]:
    """Return an MLflow client and the id of an experiment, made where it is missing.

    A local store keeps artifacts beside its database; MLflow's own default is the current directory.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = tracking_uri()
    folder = None
    try:
        if uri.startswith("sqlite:///"):
            store = Path(uri.removeprefix("sqlite:///")).parent
            store.mkdir(parents=True, exist_ok=True)
            folder = (store / "artifacts" / experiment).as_uri()
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        found = client.get_experiment_by_name(experiment)
        return client, client.create_experiment(experiment, folder) if found is None else found.experiment_id
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"tracking store {uri}: {str(error).splitlines()[0]}") from error


def lineage(root: Path = Path(".")) -> dict[str, str]:
    """Return what a model came from: git commit and whether it was dirty, DVC's hashes of lock and outputs."""
    found = {"git_commit": _git("rev-parse", "HEAD") or "none", "git_dirty": "unknown"}
    if found["git_commit"] != "none":
        found["git_dirty"] = str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()
    lock = root / "dvc.lock"
    if lock.is_file():
        content = lock.read_bytes()
        found["dvc_lock_sha256"] = hashlib.sha256(content).hexdigest()[:16]
        for stage in yaml.safe_load(content).get("stages", {}).values():
            for out in stage.get("outs", []):
                if out["path"] in ("data/lake", "data/clean", "data/features/table.parquet", "models/candidate"):
                    found[f"dvc.{out['path']}"] = out["md5"]
    return found


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # an installed copy on a machine without git
        return ""
    return done.stdout.strip()


def log_build(
    experiment: str,
    build_key: str,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    folds: list[dict[str, float]],
    artifacts: Mapping[str, Sequence[Path]],
) -> str:
    """Log one build as a parent run with its folds as children, once per ``build_key``; return the parent's id.

    Trials are rows of an artifact, not runs: 0.5 ms each against 29 to 870. ``artifacts`` maps a folder of the run to
    the files and folders that are copied into it.
    """
    from mlflow.entities import Metric, Param, RunTag

    client, experiment_id = connect(experiment)
    done = client.search_runs(
        [experiment_id], f"tags.build_key = '{build_key}' and tags.state = 'complete'", max_results=1
    )
    if done:
        return done[0].info.run_id
    now = int(time.time() * 1000)
    parent = client.create_run(experiment_id, run_name=f"build-{build_key[:8]}", tags={**tags, "build_key": build_key})
    run_id = parent.info.run_id
    client.log_batch(
        run_id,
        [Metric(k, v, now, 0) for k, v in sorted(metrics.items())],
        [Param(k, str(v)[:500]) for k, v in sorted(flat(params).items())],
    )
    for fold in folds:
        number = int(fold["fold"])
        child = client.create_run(
            experiment_id, run_name=f"fold-{number}", tags={"mlflow.parentRunId": run_id, "kind": "walk-forward fold"}
        )
        values = [Metric(k, float(v), now, 0) for k, v in fold.items() if k != "fold" and isinstance(v, (int, float))]
        words = [Param(k, str(v)) for k, v in fold.items() if isinstance(v, str)]
        client.log_batch(
            child.info.run_id, values, [Param("fold", str(number)), *words], [RunTag("build_key", build_key)]
        )
        client.set_terminated(child.info.run_id)
    for folder, path in ((folder, path) for folder, paths in artifacts.items() for path in paths):
        if path.is_dir():
            client.log_artifacts(run_id, str(path), folder)
        else:
            client.log_artifact(run_id, str(path), folder)
    client.set_tag(run_id, "state", "complete")  # a build cut short is logged again
    client.set_terminated(run_id)
    return run_id


def trials_of_other_builds(experiment: str, data_key: str, build_key: str) -> tuple[int, int]:
    """Return how many other builds searched the same data with the same hold-out, and the trials of all of them."""
    client, experiment_id = connect(experiment)
    found = client.search_runs(
        [experiment_id], f"tags.data_key = '{data_key}' and tags.state = 'complete'", max_results=5_000
    )
    # Of the build alone: the gate's count is of all that the ledger knew.
    names = ("search.trials", "walk_forward.trials")
    trials = {r.data.tags["build_key"]: sum(int(r.data.metrics.get(n, 0)) for n in names) for r in found}
    trials.pop(build_key, None)
    return len(trials), sum(trials.values())


def register(experiment: str, model: str, folder: Path, run_id: str, tags: Mapping[str, str]) -> str:
    """Register the bundle below ``folder`` as a new version of ``model``; return the version.

    ``tags`` holds ``bundle_sha256``, the hash of its manifest.
    """
    from mlflow.exceptions import MlflowException

    client, _ = connect(experiment)
    # A folder of its own for every bundle of a run: a version's source is never written again.
    place = f"bundle/{tags['bundle_sha256'][:16]}"
    client.log_artifacts(run_id, str(folder), place)
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    return str(client.create_model_version(model, source, run_id, tags=dict(tags)).version)


def registered_as(model: str, bundle_sha256: str) -> str | None:
    """Return the version that holds a bundle with this hash, or None."""
    client, _ = connect("Default")
    found = [
        v for v in client.search_model_versions(f"name = '{model}'") if v.tags.get("bundle_sha256") == bundle_sha256
    ]
    return str(max(int(v.version) for v in found)) if found else None


def set_alias(model: str, alias: str, version: str) -> None:
    """Point an alias of a registered model at a version."""
    client, _ = connect("Default")
    client.set_registered_model_alias(model, alias, version)


def aliases(model: str) -> dict[str, str]:
    """Return the aliases of a registered model; none where it is not registered."""
    from mlflow.exceptions import MlflowException

    client, _ = connect("Default")
    try:
        return {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
