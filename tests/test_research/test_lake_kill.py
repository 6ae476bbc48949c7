"""A writer killed with SIGKILL at any moment: afterwards readable, nothing lost, nothing doubled, completed by a retry.

One process imports the lake and forks a writer per kill. It runs no polars or Arrow code itself, so that no thread pool
exists yet when it forks.
"""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from research.market import Lake

ROOT = Path(__file__).resolve().parents[2]
SERIES = ("bybit", "linear", "SOLUSDT", "bars", "1m")
MONTH = pl.col("ts").dt.truncate("1mo")

# Each line on standard input is "ROOT FIRST STOP_BEFORE": fork a writer, say its pid, wait for it, say how it ended.
# The writer stores versions FIRST, FIRST + 1 ... of the rows and says each one finished.
SUPERVISOR = textwrap.dedent(
    """
    import os, signal, sys
    from research.market import Lake
    import research.market.lake_files as files
    import research.market.lake_parquet

    from tests_rows import version

    def die_before(n):
        # Count every call that changes the disk and die instead of the n-th.
        left = [n]
        def counted(real):
            def call(*args, **kwargs):
                if real is not os_open or args[1] & os.O_CREAT:
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
                    left[0] -= 1
                return real(*args, **kwargs)
            return call
        os_open = os.open
        for name in ("open", "write", "fsync", "replace", "mkdir"):
            setattr(os, name, counted(getattr(os, name)))

    for line in sys.stdin:
        root, first, stop = line.split()
        pid = os.fork()
        if pid == 0:
            lake = Lake(root)
            k = int(first)
            frame = version(k)
            if int(stop) >= 0:
                die_before(int(stop))
                lake.write(frame, *SERIES)
                os._exit(0)
            print("writing", flush=True)
            while True:
                lake.write(frame, *SERIES)
                print("done", k, flush=True)
                k += 1
                frame = version(k)
        print("pid", pid, flush=True)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    """
)
ROWS = textwrap.dedent(
    """
    import numpy as np
    import polars as pl

    def version(k):
        # Half-hourly rows over 36 days of three months; version k says so in three columns and has 10 k more.
        n = 36 * 48 + 10 * k
        ts = np.int64(1_706_745_600 * 10**9) - np.int64(3 * 86_400 * 10**9) + np.arange(n) * np.int64(30 * 60 * 10**9)
        close = 100 + np.sin(np.arange(n))
        return pl.DataFrame({
            "ts": pl.Series(ts).cast(pl.Datetime("ns", "UTC")), "open": close, "high": close, "low": close,
            "close": close, "volume": np.full(n, float(k)), "turnover": close * k,
            "trade_count": np.full(n, k), "taker_buy_volume": close,
        })
    """
)


class Supervisor:
    def __init__(self, folder: Path) -> None:
        (folder / "tests_rows.py").write_text(ROWS)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"SERIES = {SERIES!r}\n{SUPERVISOR}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, root: Path, first: int, stop: int = -1) -> None:
        self.process.stdin.write(f"{root} {first} {stop}\n")
        self.process.stdin.flush()

    def lines(self):
        for line in self.process.stdout:
            word, *rest = line.split()
            yield word, int(rest[0]) if rest else 0

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture
def supervisor(tmp_path):
    made = Supervisor(tmp_path)
    yield made
    made.close()


def expected(k: int) -> pl.DataFrame:
    scope: dict = {}
    exec(ROWS, scope)
    return scope["version"](k)


def check(lake: Lake, done: int) -> set[int]:
    """Check a lake in which versions up to ``done`` were finished; return the versions found.

    Each month holds exactly the rows of one version, ``done`` or the one under way after it.
    """
    rows = lake.read(*SERIES)
    assert rows["ts"].is_sorted()
    assert rows["ts"].is_unique().all()
    assert_frame_equal(lake.scan(*SERIES).collect(), rows)
    found = set()
    for month in rows.with_columns(month=MONTH).partition_by("month", maintain_order=True):
        versions = month["trade_count"].unique().to_list()
        assert len(versions) == 1, versions  # never half a file
        k = versions[0]
        assert k >= done  # what was finished is not lost
        whole = expected(k).filter(month["month"][0] == MONTH)
        assert_frame_equal(month.drop("month"), whole)
        found.add(k)
    assert rows.height >= expected(done).height
    return found


def test_sigkill_at_random_moments(supervisor, tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.write(expected(0), *SERIES)
    rng = random.Random(20240101)
    done, kills, unfinished, leftovers = 0, 0, 0, 0
    answers = supervisor.lines()
    while kills < 60:
        supervisor.start(lake.root, done + 1)
        pid, writing = 0, False
        for word, number in answers:
            writing = writing or word == "writing"
            if word == "pid":
                pid = number
            elif word == "done":
                done = number
            if pid and writing:
                time.sleep(rng.uniform(0.0, 0.08))  # one write takes about 20 ms
                os.kill(pid, signal.SIGKILL)
                pid = 0
            if word == "ended":
                assert number == -signal.SIGKILL
                break
        kills += 1
        left = list(lake.root.rglob("*.tmp"))
        leftovers += len(left)
        found = check(lake, done)
        unfinished += len(found) > 1 or max(found) > done or bool(left)
        if kills % 4 == 0:  # the interrupted write again, to its end, by another process than the one that died
            lake.write(expected(done + 1), *SERIES)
            done += 1
            assert check(lake, done) == {done}
            assert list(lake.root.rglob("*.tmp")) == []
            assert_frame_equal(lake.read(*SERIES), expected(done))
    assert unfinished >= 5, "too few kills fell into a write to show anything"
    assert leftovers > 0


@pytest.mark.parametrize("stored", [True, False])
def test_sigkill_before_each_call_that_changes_the_disk(supervisor, tmp_path, stored):
    """Exhaustive where random moments are not: die in the place of the 1st, 2nd, ... such call until none is left."""
    answers = supervisor.lines()
    mixed = 0
    for stop in range(100):
        lake = Lake(tmp_path / f"lake-{stop}")
        if stored:
            lake.write(expected(0), *SERIES)
        supervisor.start(lake.root, 1, stop)
        ended = next(number for word, number in answers if word == "ended")
        files = list(lake.root.rglob("*.parquet"))
        if stored or files:
            found = check(lake, 0) if stored else {1}
            mixed += len(found) > 1
        report = lake.write(expected(1), *SERIES)
        assert report.rows_added + report.rows_replaced + report.rows_unchanged == expected(1).height
        assert_frame_equal(lake.read(*SERIES), expected(1))
        assert list(lake.root.rglob("*.tmp")) == []
        if ended == 0:
            assert report.rows_unchanged == expected(1).height
            break
        assert ended == -signal.SIGKILL
    assert ended == 0
    assert stop >= 13  # three files written and flushed, three renamed, one directory flushed
    assert not stored or mixed == 2  # deaths after the first rename and after the second: months of two versions
