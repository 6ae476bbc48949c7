"""Fixtures shared by all tests."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# A market and budgets small enough for a few seconds; the gate's verdict on it means nothing.
SMALL = [
    "ingest.simulated.days=60", "backtest.holdout_days=20", "walk_forward.train_days=20", "walk_forward.test_days=10",
    "walk_forward.step_days=10", "search.trials=4", "search.folds=2", "walk_forward.trials=2", "monte_carlo.paths=200",
    "monte_carlo.account_paths=20", "train.rounds=20", "train.min_data_in_leaf=100", "controls.noise=0",
]  # fmt: skip

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Return the folder of real market data, or skip the test where there is none."""
    folder = Path(os.environ.get("MARKET_DATA", ROOT.parent / "shared" / "market"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no real market data at {folder}: set MARKET_DATA")
    return folder


@pytest.fixture(scope="session")
def tracking_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Point MLflow at a store of this test session and return its address."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    yield uri
    if before is None:
        del os.environ["MLFLOW_TRACKING_URI"]
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@pytest.fixture(scope="session")
def build_pipeline(tracking_store: str) -> Callable:
    """Return a function that runs all stages below a folder: ``build(root, *overrides, params="params.yaml")``."""
    from pipelines.params import load_params
    from pipelines.run import run
    from pipelines.workspace import Workspace

    def build(root: Path, *overrides: str, params: str = "params.yaml") -> tuple:
        loaded, workspace = load_params(ROOT / params, overrides), Workspace(root)
        run(loaded, workspace)
        return loaded, workspace

    return build


@pytest.fixture(scope="session")
def default_build(build_pipeline: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Return parameters and workspace of the default profile, as `make run` builds it."""
    return build_pipeline(tmp_path_factory.mktemp("default"))


@pytest.fixture(scope="session")
def promoted(default_build: tuple) -> tuple:
    """Return parameters and workspace of the default profile after its promotion to champion."""
    from pipelines.promote import promote

    params, workspace = default_build
    version = promote(params, workspace, "champion")
    return params, workspace, version


@pytest.fixture(scope="session")
def small_build(build_pipeline: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """Return parameters and workspace of a small build."""
    return build_pipeline(tmp_path_factory.mktemp("small"), *SMALL)


@pytest.fixture(scope="session")
def small_overrides() -> list[str]:
    """Return the overrides of :func:`small_build`."""
    return list(SMALL)
