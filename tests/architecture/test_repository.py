"""What is in version control: a lock that can be trusted, no machine's paths, no credentials, no data."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.:/~-])/(work|root|home|Users)/[\w.-]+|[A-Z]:\\+Users\\")
CREDENTIALS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[\w-]{10,}"
    r"|(?i:api[_-]?(key|secret)|secret[_-]?key|passw(or)?d|token)[\"']?\s*[:=]\s*[\"'][A-Za-z0-9+/_-]{16,}[\"']"
    r"|://[^/\s:@]+:[^/\s:@{}$]+@"
)
ARTEFACTS = (".parquet", ".feather", ".arrow", ".db", ".sqlite", ".sqlite3", ".pkl", ".pickle", ".joblib", ".h5",
             ".npy", ".npz", ".pyc", ".so", ".nbi", ".nbc", ".jsonl", ".log")  # fmt: skip
MAX_BYTES = 1_000_000  # the largest source, the lock, has some 360,000


def tracked() -> list[Path]:
    """Return what git holds or would take: files that are neither ignored nor deleted."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return "" if b"\0" in content[:8_192] else content.decode(errors="replace")


def without_code(path: Path, content: str) -> str:
    """Return a file's text; this one's own patterns and samples left out."""
    return "" if path == Path(__file__).resolve() else content


def found_in(pattern: re.Pattern, files: list[Path]) -> list[str]:
    hits = []
    for path in files:
        for number, line in enumerate(without_code(path, text_of(path)).splitlines(), start=1):
            if match := pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number} {match[0]}")
    return hits


def lock_entries(text: str) -> list[str]:
    """Return one string per requirement, continuation lines joined."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [" ".join(line.split()) for line in lines]


def faults(entry: str) -> list[str]:
    """Return what makes a lock's entry less than an exact version with hashes from the index."""
    requirement, _, hashes = entry.partition(" --hash=")
    wrong = []
    if not re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!+-]+( ;.*)?$", requirement):
        wrong.append(f"{requirement}: no exact version")
    if not re.fullmatch(r"(sha256:[0-9a-f]{64}( --hash=|$))+", hashes):
        wrong.append(f"{requirement}: no sha256 hashes")
    if "://" in entry or " @ " in entry:
        wrong.append(f"{requirement}: an address")
    return wrong


def test_lock_has_exact_versions_and_hashes():
    entries = lock_entries((ROOT / "requirements.lock").read_text())
    assert len(entries) > 100
    assert [fault for entry in entries for fault in faults(entry)] == []


@pytest.mark.parametrize(
    "entry",
    ["numpy==2.4.6", "numpy>=2.4 --hash=sha256:" + "0" * 64, "numpy==2.4.6 --hash=md5:" + "0" * 32,
     "x @ https://example.org/x.whl --hash=sha256:" + "0" * 64, "--extra-index-url https://example.org/simple"],
)  # fmt: skip
def test_weak_lock_entry_is_caught(entry):
    assert faults(entry) != []


def test_no_machine_paths():
    assert found_in(MACHINE_PATHS, tracked()) == []


def test_no_credentials():
    assert found_in(CREDENTIALS, tracked()) == []


@pytest.mark.parametrize(
    "line", ['root = "/work/lab/data"', "cd /home/quant/lake", "file:///root/x", r"C:\Users\quant"]
)
def test_machine_path_would_be_seen(line):
    assert MACHINE_PATHS.search(line.replace("file://", ""))


@pytest.mark.parametrize(
    "line",
    ['api_key = "abcdefghijklmnop1234"', "AKIA" + "A" * 16, "-----BEGIN RSA PRIVATE KEY-----", "postgres://u:p4ss@db/x",
     '"token": "0123456789abcdef0123"', "ghp_" + "a" * 36],
)  # fmt: skip
def test_credential_would_be_seen(line):
    assert CREDENTIALS.search(line)


@pytest.mark.parametrize(
    "line", ["data/lake", "self.root / name", "network/home/x", "api_key = settings.key", "token: str"]
)
def test_ordinary_line_is_not_taken_for_one(line):
    assert not MACHINE_PATHS.search(line)
    assert not CREDENTIALS.search(line)


def test_no_artefacts_and_nothing_large():
    files = tracked()
    assert [p.relative_to(ROOT).as_posix() for p in files if p.suffix in ARTEFACTS] == []
    assert [p.relative_to(ROOT).as_posix() for p in files if p.stat().st_size > MAX_BYTES] == []
    allowed = {"data/README.md", "models/README.md", "mlflow/README.md"}
    below = {
        p.relative_to(ROOT).as_posix() for p in files if p.relative_to(ROOT).parts[0] in ("data", "models", "mlflow")
    }
    assert below <= allowed


def test_notebooks_are_committed_without_outputs():
    for path in (p for p in tracked() if p.suffix == ".ipynb"):
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            assert not cell.get("outputs"), f"{path.name} cell {number} has outputs"
            assert cell.get("execution_count") is None, f"{path.name} cell {number} has an execution count"


def test_continuous_integration_runs_the_command_that_the_readme_states():
    script, readme = ROOT / ".ci" / "run", (ROOT / "README.md").read_text()
    stated = re.findall(r"^\s*(?:\$ )?(make test[\w-]*)\s*(?:#.*)?$", readme, flags=re.MULTILINE)
    if not script.is_file():
        pytest.skip("no .ci/run")
    assert stated, "README.md states no `make test` on a line of its own"
    assert stated[0] in script.read_text()
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
