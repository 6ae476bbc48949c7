"""Starting live loads what it needs and no more, asked of a fresh process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Why live does without them: the modules, each with its family. SciPy itself is loaded by Numba; its parts are not.
HEAVY = {
    "research's alone": (
        "pandas", "optuna", "vectorbt", "deap", "sklearn", "scipy.stats", "scipy.optimize", "joblib", "dask", "plotly",
        "matplotlib", "research.backtest", "research.metrics", "research.labels", "research.learning",
        "research.validation", "research.search", "research.report",
    ),
    "the pipeline's": ("dvc", "pipelines"),
    "the notebooks'": ("jupyter", "jupyterlab", "notebook", "IPython", "ipykernel"),
    "loaded when a bundle holds a model": ("lightgbm", "xgboost"),
    "asked only where a registry is named": ("mlflow", "sqlalchemy"),
}  # fmt: skip
SCRIPT = "import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"


def loaded_by(module: str) -> set[str]:
    """Return the modules that a fresh process holds after importing one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def heavy_among(modules: set[str]) -> list[str]:
    """Return the heavy modules of a process, each with one that proves it."""
    found = []
    for reason, names in HEAVY.items():
        for name in names:
            loaded = sorted(m for m in modules if m == name or m.startswith((f"{name}.", f"{name}_")))
            found += [f"{loaded[0]} ({reason})"] if loaded else []
    return found


@pytest.mark.parametrize("module", ["live.runner", "research.bundle", "research.execution", "research.features"])
def test_import_is_light(module):
    modules = loaded_by(module)
    assert module in modules
    assert heavy_among(modules) == []


def test_a_heavy_import_would_be_seen():
    assert heavy_among(loaded_by("sklearn.base")) != []
    assert heavy_among({"jupyter_core.paths", "pipelines"}) == [
        "pipelines (the pipeline's)", "jupyter_core.paths (the notebooks')"
    ]  # fmt: skip
    assert heavy_among({"dvclive_like", "numpy", "polars"}) == []
