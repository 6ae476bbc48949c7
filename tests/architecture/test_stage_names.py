"""A stage, its module and its section have one name, and a stage depends on every source that it runs."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.params import SHARED

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("research", "pipelines", "live")


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def sections() -> list[str]:
    return list(yaml.safe_load((ROOT / "params.yaml").read_text()))


def module_files(name: str, root: Path) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs: its module and every package above."""
    parts = name.split(".")
    for k in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:k])
        yield from (p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file())


def imports(file: Path, root: Path) -> set[Path]:
    """Return the project's files that a source imports anywhere in it."""
    names = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {f for name in names if name.split(".")[0] in PACKAGES for f in module_files(name, root)}


def closure(start: Path, root: Path) -> set[Path]:
    """Return a source and everything of the project that it imports, directly or not."""
    found: set[Path] = set()
    queue = [start, *module_files(".".join(start.relative_to(root).parts[:-1]), root)]
    while queue:
        file = queue.pop()
        if file not in found:
            found.add(file)
            queue.extend(imports(file, root))
    return found


def uncovered(stage: str, deps: Iterable[str], root: Path) -> list[str]:
    """Return sources of a stage that no dependency names, itself or as a folder above; empty sources say nothing."""
    covered = {root / dep for dep in deps}
    files = closure(root / "pipelines" / f"{stage}.py", root)
    return sorted(
        f.relative_to(root).as_posix()
        for f in files
        if f not in covered and covered.isdisjoint(f.parents) and f.read_text().strip()
    )


@pytest.mark.parametrize("stage", stages())
def test_stage_has_a_module_a_command_and_a_section(stage):
    assert (ROOT / "pipelines" / f"{stage}.py").is_file()
    assert stages()[stage]["cmd"] == f"python -m pipelines.{stage}"
    assert stage in sections()
    if stage in stages()[stage].get("params", []):
        return
    # A section that no one reads does not exist; one that the stage does not depend on would go stale.
    pytest.fail(f"stage {stage} does not depend on its own section of params.yaml")


def test_every_section_is_a_stage_or_shared():
    assert set(sections()) - set(stages()) == set(SHARED)


def test_stages_depend_on_sections_that_exist():
    named = {section.split(".")[0] for stage in stages().values() for section in stage.get("params", [])}
    assert named <= set(sections())


@pytest.mark.parametrize("stage", stages())
def test_stage_depends_on_every_source_that_it_runs(stage):
    assert uncovered(stage, stages()[stage].get("deps", []), ROOT) == []


@pytest.mark.parametrize("stage", stages())
def test_sources_that_a_stage_depends_on_exist(stage):
    deps = [d for d in stages()[stage]["deps"] if d.split("/")[0] in PACKAGES]
    assert [d for d in deps if not (ROOT / d).exists()] == []


def test_outputs_belong_to_one_stage_and_lie_below_data_or_models():
    outputs = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in stages().values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    ]
    assert len(outputs) == len(set(outputs))
    assert [o for o in outputs if o.split("/")[0] not in ("data", "models")] == []


def test_a_forgotten_dependency_would_be_seen(tmp_path):
    written = {
        "pipelines/__init__.py": "", "pipelines/gate.py": "from research.rules import check\n",
        "research/__init__.py": '"""Doc."""', "research/rules/__init__.py": "from research.rules import deep\n",
        "research/rules/deep.py": "def f():\n    import research.other\n", "research/other.py": "x = 1\n",
    }  # fmt: skip
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert uncovered("gate", ["pipelines/gate.py", "research"], tmp_path) == []
    assert uncovered("gate", ["pipelines/gate.py", "research/__init__.py", "research/rules"], tmp_path) == [
        "research/other.py"
    ]
    assert uncovered("gate", ["pipelines/gate.py"], tmp_path) == [
        "research/__init__.py", "research/other.py", "research/rules/__init__.py", "research/rules/deep.py"
    ]  # fmt: skip
