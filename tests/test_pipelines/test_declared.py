"""What a stage reads and writes is what dvc.yaml says: an undeclared file makes a rebuild stale, or fail."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from pipelines.run import STAGES
from pipelines.workspace import Workspace
from research.errors import PlatformError

ROOT = Path(__file__).resolve().parents[2]
DECLARED = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@dataclass(frozen=True)
class Watched(Workspace):
    """A workspace that notes the names it is asked for."""

    read: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)

    @property
    def lake(self):
        self.read.add("data/lake")
        return super().lake

    @property
    def clean(self):
        self.read.add("data/clean")
        return super().clean

    def replacing(self, name):
        self.written.add(name)
        return super().replacing(name)

    def read_bytes(self, name):
        self.read.add(name)
        return super().read_bytes(name)

    def write_bytes(self, name, content):
        self.written.add(name)
        super().write_bytes(name, content)


class WatchedParams:
    """Parameters that note the sections they are asked for."""

    def __init__(self, params):
        self.params, self.asked = params, set()

    def __getattr__(self, name):
        section = name.rstrip("_")
        if section in type(self.params).model_fields or name in type(self.params).model_fields:
            self.asked.add(section)
        return getattr(self.params, name)


def names(entries):
    return [next(iter(e)) if isinstance(e, dict) else e for e in entries]


def covered(name, declared):
    return any(name == d or name.startswith(d + "/") for d in declared)


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s.__name__.rsplit(".", 1)[1])
def test_a_stage_touches_what_it_declares(stage, small_build):
    params, workspace = small_build
    declared = DECLARED[stage.__name__.rsplit(".", 1)[1]]
    outs = names([*declared.get("outs", []), *declared.get("metrics", []), *declared.get("plots", [])])
    deps = names(declared["deps"])
    watched, asked = Watched(workspace.root), WatchedParams(params)
    stage.run(asked, watched)
    assert watched.written | watched.read
    assert [n for n in sorted(watched.written) if not covered(n, outs)] == []
    assert [n for n in sorted(watched.read) if not covered(n, [*deps, *outs])] == []
    assert sorted(asked.asked - set(declared["params"])) == []
    unwritten = [o for o in outs if not any(n == o or n.startswith(o + "/") for n in watched.written | watched.read)]
    assert unwritten == []


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.replacing("data/lake") as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), workspace.replacing("data/lake") as folder:
        (folder / "b").write_text(f"{1 / 0}")
    assert [p.name for p in (tmp_path / "data/lake").iterdir()] == ["a"]
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["lake"]
    with workspace.replacing("data/lake") as folder:
        (folder / "c").write_text("3")
    assert [p.name for p in (tmp_path / "data/lake").iterdir()] == ["c"]


def test_an_ingest_that_fails_leaves_the_lake_of_before(small_build, tmp_path):
    params, workspace = small_build
    other = Workspace(tmp_path)
    from pipelines import ingest

    ingest.run(params, other)
    before = other.lake.series()
    files = params.ingest.model_copy(update={"source": "files"})
    with pytest.raises(PlatformError):
        ingest.run(params.model_copy(update={"ingest": files}), other)
    assert other.lake.series().equals(before)
    assert before.height == workspace.lake.series().height
