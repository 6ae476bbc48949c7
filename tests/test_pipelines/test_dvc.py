"""`dvc repro` in a copy of the repository: what reruns, what is byte-identical, where runs end up."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.params import _override
from pipelines.run import STAGES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NAMES = [stage.__name__.rsplit(".", 1)[1] for stage in STAGES]
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@example.invalid"]


class Copy:
    """A repository of its own, with small budgets in its parameters."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        self.folder = folder
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True)
        for name in listed.stdout.decode().split("\0"):
            if name and name != "dvc.lock" and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.change(*overrides)
        self.call(*GIT[:1], "init", "-q")
        self.commit()

    def call(self, *command: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "GIT_DIR")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def change(self, *overrides: str) -> None:
        path = self.folder / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for override in overrides:
            _override(values, override)
        path.write_text(yaml.safe_dump(values, sort_keys=False))

    def commit(self) -> None:
        self.call(*GIT, "add", "-A")
        self.call(*GIT, "commit", "-q", "-m", "state")

    def repro(self) -> list[str]:
        """Rebuild and return the stages that ran."""
        return re.findall(r"Running stage '(\w+)'", self.call("dvc", "repro"))

    def builds(self) -> int:
        """Return how many builds the tracking store holds."""
        with sqlite3.connect(self.folder / "mlflow/mlflow.db") as store:
            return store.execute("select count(*) from tags where key = 'build_key' and run_uuid in "
                                 "(select run_uuid from tags where key = 'state')").fetchone()[0]  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory, small_overrides):
    made = Copy(tmp_path_factory.mktemp("repository"), small_overrides)
    assert made.repro() == NAMES
    return made


def test_a_second_repro_runs_nothing(copy):
    assert copy.repro() == []


@pytest.mark.parametrize(
    ("override", "reruns"),
    [
        ("gate.checks.drawdown.threshold=-0.5", ["gate", "controls", "report", "publish"]),
        ("report.title=Another", ["report", "publish"]),
        ("monte_carlo.block=7", ["monte_carlo", "controls", "gate", "report", "publish"]),
        ("walk_forward.trials=3", ["walk_forward", "monte_carlo", "controls", "gate", "report", "publish"]),
        ("publish.experiment=other", ["publish"]),
    ],
)
def test_a_changed_parameter_reruns_what_depends_on_it(copy, override, reruns):
    before = (copy.folder / "params.yaml").read_bytes()
    lock = (copy.folder / "dvc.lock").read_bytes()
    copy.change(override)
    ran = copy.repro()
    (copy.folder / "params.yaml").write_bytes(before)
    copy.repro()  # restored from DVC's run cache
    # A stage whose inputs came out the same bytes is skipped: the list is what may run, its head what must.
    assert reruns[0] in ran
    assert set(ran) <= set(reruns)
    assert (copy.folder / "dvc.lock").read_bytes() == lock


def test_a_rebuild_from_nothing_gives_the_same_lock(copy):
    lock = (copy.folder / "dvc.lock").read_bytes()
    for name in ("data", "models", ".dvc/cache", ".dvc/tmp", "dvc.lock"):
        path = copy.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert copy.repro() == NAMES
    assert (copy.folder / "dvc.lock").read_bytes() == lock


def test_metrics_and_plots_are_shown(copy):
    assert '"sharpe"' in copy.call("dvc", "metrics", "show", "--json")
    copy.call("dvc", "plots", "show", "-o", "shown")
    page = (copy.folder / "shown/index.html").read_text()
    stages = yaml.safe_load((copy.folder / "dvc.yaml").read_text())["stages"].values()
    titles = [options["title"] for s in stages for plot in s.get("plots", []) for options in plot.values()]
    assert len(titles) >= 5
    assert [title for title in titles if title not in page] == []


def test_a_queued_experiment_reaches_the_same_store(copy):
    copy.commit()
    before = copy.builds()
    copy.call("dvc", "exp", "run", "--queue", "-S", "report.title=Queued")
    copy.call("dvc", "exp", "run", "--run-all", "-j", "1")
    assert copy.builds() == before  # a title is no figure: the same build
    copy.call("dvc", "exp", "run", "--queue", "-S", "gate.checks.drawdown.threshold=-0.6")
    copy.call("dvc", "exp", "run", "--run-all", "-j", "1")
    assert copy.builds() == before + 1
    assert not list((copy.folder / ".dvc/tmp").rglob("mlflow.db"))


def test_the_committed_lock_agrees_with_code_and_parameters():
    """A rebuild would run nothing, data that is not here left aside; `dvc repro` before the commit mends it."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["dvc", "repro", "--dry", "--allow-missing"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r"Running stage '(\w+)'", done.stdout) == []
