"""The folder of trials: nothing is lost when processes append at once or die, and what is broken is named."""

import multiprocessing
import os
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from pipelines import trial_ledger
from pipelines.trial_ledger import FOLDER, LedgerFolder
from research.errors import CorruptFile
from research.validation.trial_ledger import Study, TrialLedger

ROOT = Path(__file__).resolve().parents[2]
STUDY = Study("trend", "3f2a", "2024-01-01/2024-02-29")
DAYS = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")


def batch(*numbers):
    ledger = TrialLedger()
    for k in numbers:
        returns = np.random.default_rng(k).normal(0.0, 0.01, DAYS.size)
        ledger.add(STUDY, {"k": k}, source="manual", returns=returns, days=DAYS)
    return ledger


def test_appends_are_read_back_in_order(tmp_path):
    folder = LedgerFolder(tmp_path / "trials")
    assert folder.read().count() == 0
    assert folder.append(TrialLedger()) is None
    assert not folder.path.exists()
    parts = [batch(3, 1), batch(1, 2), batch(0)]
    placed = [folder.append(part) for part in parts]
    assert folder.files() == placed
    assert [p.name[:8] for p in placed] == ["00000000", "00000001", "00000002"]
    found = folder.read()
    assert found.frame.equals(TrialLedger().merge(*parts).frame, null_equal=True)
    assert found.frame["looks"].to_list() == [1, 2, 1, 1]
    assert sorted(p.name for p in folder.path.iterdir()) == [p.name for p in placed]  # nothing is left beside them


def test_the_same_batch_again_is_another_look(tmp_path):
    folder = LedgerFolder(tmp_path)
    for _ in range(3):
        folder.append(batch(1, 2))
    assert folder.read().frame["looks"].to_list() == [3, 3]


def test_a_name_that_is_taken_meanwhile_replaces_nothing(tmp_path, monkeypatch):
    """Two appends of one batch that both saw an empty folder: the second finds the name taken."""
    folder = LedgerFolder(tmp_path)
    folder.append(batch(1))
    monkeypatch.setattr(LedgerFolder, "_names", lambda self: [])
    folder.append(batch(1))
    monkeypatch.undo()
    assert [p.name[:8] for p in folder.files()] == ["00000000", "00000001"]
    assert folder.read().looks() == 2


def test_a_file_system_without_links_is_served_by_renames(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(trial_ledger.os, "link", refuse)
    folder = LedgerFolder(tmp_path)
    folder.append(batch(1))
    folder.append(batch(1))
    assert folder.read().looks() == 2


def append_many(path, first, barrier):
    barrier.wait()
    folder = LedgerFolder(path)
    for k in range(first, first + 10):
        folder.append(batch(k, 1_000))


def test_processes_append_at_once_and_nothing_is_lost(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=append_many, args=(tmp_path, first, barrier)) for first in (0, 100)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    found = LedgerFolder(tmp_path).read().frame
    assert found.height == 21
    assert found["looks"].sum() == 40
    assert found.filter(looks=20).height == 1


@pytest.mark.parametrize("moment", ["fsync", "link"])
def test_a_kill_leaves_what_was_there(tmp_path, monkeypatch, moment):
    folder = LedgerFolder(tmp_path)
    folder.append(batch(1))

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    # A kill cannot tidy up: the temporary file stays where it was.
    monkeypatch.setattr(trial_ledger.os, moment, die)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(Killed):
        folder.append(batch(2))
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    assert folder.read().count() == 1
    folder.append(batch(2))
    assert folder.read().count() == 2


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_torn_file_is_named(tmp_path, kept):
    folder = LedgerFolder(tmp_path)
    torn = folder.append(batch(1))
    folder.append(batch(2))
    content = torn.read_bytes()
    torn.write_bytes(content[:kept])
    with pytest.raises(CorruptFile, match=re.escape(str(torn))):
        folder.read()
    torn.write_bytes(content)
    assert folder.read().count() == 2


def test_a_changed_return_or_a_strange_name_is_named(tmp_path):
    folder = LedgerFolder(tmp_path)
    file = folder.append(batch(1))
    content = file.read_bytes()
    # Whole Parquet, one return another: only the hash in the name tells.
    forged = batch(1).frame.with_columns(pl.col("returns").list.eval(pl.element() * 2.0))
    forged.write_parquet(file)
    with pytest.raises(CorruptFile, match=re.escape(str(file))):
        folder.read()
    file.write_bytes(content)
    strange = tmp_path / "trials.parquet"
    shutil.copy(file, strange)
    for use in (folder.read, lambda: folder.append(batch(2))):
        with pytest.raises(CorruptFile, match=re.escape(str(strange))):
            use()


def test_another_machine_is_merged_by_copying(tmp_path):
    one, other = LedgerFolder(tmp_path / "one"), LedgerFolder(tmp_path / "other")
    one.append(batch(1, 2))
    other.append(batch(2, 3))
    for file in [*other.files(), *one.files()]:  # its own too: a file copied twice is one file
        target = one.path / file.name
        if not target.exists():
            shutil.copy(file, target)
    assert one.read().count() == 3
    assert one.read().looks() == 4


def test_nothing_but_a_wish_removes_the_ledger():
    """No stage has it as an output, `make clean` leaves it and git takes no trials."""
    below = [FOLDER, *(str(p) for p in Path(FOLDER).parents if str(p) != ".")]
    recipe = (ROOT / "Makefile").read_text().split("\nclean:")[1].split("\n\n")[0]
    removed = recipe.replace("\\\n", " ").split()
    assert "data/lake" in removed  # the recipe was found
    assert not [name for name in removed if name.rstrip("/*") in below]
    outs = []
    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            outs += [next(iter(o)) if isinstance(o, dict) else o for o in stage.get(kind, [])]
    assert "data/lake" in outs
    assert not [name for name in outs if name.rstrip("/") in below or name.startswith(f"{FOLDER}/")]
    assert "/data/*" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_folder_is_made_only_by_an_append(tmp_path):
    folder = LedgerFolder(tmp_path / "a" / "b")
    assert folder.files() == []
    folder.append(batch(1))
    assert os.listdir(folder.path) == [folder.files()[0].name]
