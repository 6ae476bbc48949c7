"""Compiled kernels are never stale after an edit, and never compiled twice for nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from research.features import CATALOGUE
from research.kernel import sources_hash

ROOT = Path(__file__).resolve().parents[2]
HELPER = """
from research.kernel import kernel

@kernel
def scaled(x):
    return {factor} * x
"""
FEATURE = """
from research.kernel import kernel
from research.scaling import scaled

@kernel
def double(close, state, out):
    for i in range(close.shape[0]):
        out[0, i] = scaled(close[i])
"""
RUN = """
import numpy as np
from research.doubling import double
out = np.empty((1, 1))
double(np.ones(1), np.zeros(0), out)
print(out[0, 0], sum(double.stats.cache_hits.values()), sum(double.stats.cache_misses.values()))
"""
COUNT = """
import json, sys
import numpy as np
from research.features import CATALOGUE
from research.risk import SIZERS
from research.strategies import STRATEGIES
counts = {}
for specs in (CATALOGUE, STRATEGIES, SIZERS):
    for name, spec in specs.items():
        arguments = spec.arguments()
        shapes = [(3, 2) if column.startswith("basket") else 3 for column in spec.inputs]
        kinds = [np.int64 if column == "ts" else np.float64 for column in spec.inputs]
        inputs = [np.ones(shape, dtype=kind) for shape, kind in zip(shapes, kinds, strict=True)]
        spec.run(inputs, arguments, spec.initial_state(arguments))
        stats = spec.kernel.stats
        counts[name] = [sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]
json.dump(counts, sys.stdout)
"""


def python(code: str, folder: Path, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, cwd=folder, env={**kept, **environment}, capture_output=True, text=True, timeout=300
    ).stdout


@pytest.fixture
def project(tmp_path) -> Path:
    package = tmp_path / "research"
    package.mkdir()
    (package / "__init__.py").write_text('"""A copy."""\n')
    for name in ("errors.py", "kernel.py"):
        shutil.copy(ROOT / "research" / name, package / name)
    (package / "scaling.py").write_text(HELPER.format(factor=2.0))
    (package / "doubling.py").write_text(FEATURE)
    return tmp_path


def test_an_edit_in_another_file_shows_at_once(project):
    assert python(RUN, project) == "2.0 0 1\n"
    assert python(RUN, project) == "2.0 1 0\n"  # served from the cache, which is what makes it dangerous
    (project / "research" / "scaling.py").write_text(HELPER.format(factor=4.0))
    assert python(RUN, project) == "4.0 0 1\n"
    (project / "research" / "scaling.py").write_text(HELPER.format(factor=2.0))
    assert python(RUN, project).startswith("2.0 ")


def test_a_second_process_compiles_nothing(tmp_path):
    cache = str(tmp_path / "cache")
    first = json.loads(python(COUNT, ROOT, NUMBA_CACHE_DIR=cache))
    second = json.loads(python(COUNT, ROOT, NUMBA_CACHE_DIR=cache))
    assert set(CATALOGUE) <= set(first)
    assert {name: counts for name, counts in first.items() if counts != [0, 1]} == {}
    assert {name: counts for name, counts in second.items() if counts != [1, 0]} == {}


def test_a_fingerprint_covers_the_helpers(project):
    # sources_hash resolves imports within its own project: asked of the copy, by the copy.
    ask = "from pathlib import Path; from research.kernel import sources_hash; "
    ask += "print(sources_hash([Path('research/doubling.py')]))"
    before = python(ask, project)
    assert python(ask, project) == before
    (project / "research" / "scaling.py").write_text(HELPER.format(factor=4.0))
    assert python(ask, project) != before


def test_sources_hash_ignores_the_order_of_files():
    files = [ROOT / "research" / "features" / name for name in ("trend/ema.py", "momentum/rsi.py")]
    assert sources_hash(files) == sources_hash(files[::-1])
    assert sources_hash(files) != sources_hash(files[:1])
