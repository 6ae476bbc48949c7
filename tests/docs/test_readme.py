"""What README.md says is so: its Python runs, its commands exist, its folder map is the tree."""

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SHELLS = ("sh", "bash", "shell", "console")


def blocks(text: str) -> list[tuple[str, int, str]]:
    """Return (language, line of its first line, content) of every fenced block.

    Only what opens with three backticks at the start of a line; one without a language has the empty language.
    """
    found = []
    for match in re.finditer(r"^```([\w-]*)[^\n]*\n(.*?)^```\s*$", text, flags=re.MULTILINE | re.DOTALL):
        found.append((match[1], text[: match.start(2)].count("\n") + 1, match[2]))
    return found


def commands(text: str) -> list[tuple[int, str]]:
    """Return (line, command) of every shell block; continued lines are joined, prompts and output left out."""
    found = []
    for language, first, content in blocks(text):
        if language not in SHELLS:
            continue
        joined = content.replace("\\\n", " ")
        has_prompt = re.search(r"^\$ ", joined, flags=re.MULTILINE) is not None
        for number, line in enumerate(joined.splitlines()):
            command = line.strip()
            if has_prompt and not command.startswith("$ "):
                continue  # what the command printed
            command = re.sub(r"\s+#.*$", "", command.removeprefix("$ ")).strip()
            if command and not command.startswith("#"):
                found.append((first + number, command))
    return found


def make_targets(command: str) -> list[str]:
    """Return the targets of every ``make`` in a command line, options and variables left out."""
    found = []
    for part in re.split(r"&&|\|\||[;|]", command):
        words = part.split()
        while words and "=" in words[0]:
            words = words[1:]
        if words[:1] == ["make"]:
            found += [w for w in words[1:] if not w.startswith("-") and "=" not in w]
    return found


def python_modules(command: str) -> list[str]:
    """Return the modules that a command line runs with ``python -m``."""
    return re.findall(r"\bpython[\d.]*\s+-m\s+([\w.]+)", command)


def mapped_paths(text: str) -> list[str]:
    """Return the paths of the folder map: every first word of an indented tree, joined to the folders above it.

    The map is the fenced block without a language (or ``text``) whose first lines name folders with a slash, as in::

        research/            arrays in, arrays out
          errors.py  kernel.py
          market/            bars, the lake
    """
    found = []
    for language, _, content in blocks(text):
        lines = [line for line in content.splitlines() if line.strip()]
        if language not in ("", "text") or not any(re.match(r"[\w.-]+/(\s|$)", line) for line in lines[:3]):
            continue
        above: list[tuple[int, str]] = []
        for line in lines:
            plain = re.sub(r"[│├└─]", " ", line)
            indent = len(plain) - len(plain.lstrip())
            above = [(depth, name) for depth, name in above if depth < indent]
            for k, word in enumerate(re.split(r"\s+", plain.strip())):
                if not re.fullmatch(r"[\w.-]+/|[\w-]*\.?[\w-]+\.(py|yaml|toml|lock|md|ipynb)|Makefile", word):
                    break  # here the description begins
                found.append("".join(name for _, name in above) + word)
                if k == 0 and word.endswith("/"):
                    above.append((indent, word))
                    break
    return found


def linked_paths(text: str) -> list[str]:
    """Return the targets of links within the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [t.split("#")[0] for t in targets if "://" not in t and not t.startswith(("#", "mailto:"))]


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([A-Za-z][\w-]*)\s*:(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_python_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    namespace = {"__name__": "readme"}
    for language, line, content in blocks(README.read_text()):
        if language != "python":
            continue
        # Compiled with the README's own line numbers: a failure points at the line that a reader sees.
        tree = ast.increment_lineno(ast.parse(content, str(README)), line - 1)
        exec(compile(tree, str(README), "exec"), namespace)


def test_make_targets_exist():
    named = [(n, t) for n, command in commands(README.read_text()) for t in make_targets(command)]
    known = makefile_targets()
    assert [f"README.md:{n} make {t}" for n, t in named if t not in known] == []


def test_modules_that_are_run_exist():
    named = [(n, m) for n, command in commands(README.read_text()) for m in python_modules(command)]
    assert [f"README.md:{n} python -m {m}" for n, m in named if importlib.util.find_spec(m) is None] == []


def test_paths_of_the_folder_map_exist():
    assert [p for p in mapped_paths(README.read_text()) if not (ROOT / p).exists()] == []


def test_links_lead_somewhere():
    assert [p for p in linked_paths(README.read_text()) if not (ROOT / p).exists()] == []


SAMPLE = """
```python
x = 1
```
```console
$ make install && make test   # two minutes
make printed_line
$ python -m live.runner --bundle NAME@champion \\
    --replay data/clean
```
```sh
# a comment
OMP_NUM_THREADS=2 make -j2 bench PYTHON=python3.12
.venv/bin/python -m pipelines.promote --alias champion
```
```
research/         arrays in, arrays out
  errors.py  kernel.py
  market/         bars, lake
    lake.py       the Parquet lake
pipelines/        one module per stage
dvc.yaml params.yaml
```
[design](docs/architecture.md#layers) and [elsewhere](https://example.org)
"""


def test_blocks_are_read_as_a_reader_would():
    assert [(language, line) for language, line, _ in blocks(SAMPLE)] == [
        ("python", 3),
        ("console", 6),
        ("sh", 12),
        ("", 17),
    ]
    found = [command for _, command in commands(SAMPLE)]
    assert [t for command in found for t in make_targets(command)] == ["install", "test", "bench"]
    assert [m for command in found for m in python_modules(command)] == ["live.runner", "pipelines.promote"]
    assert mapped_paths(SAMPLE) == [
        "research/", "research/errors.py", "research/kernel.py", "research/market/", "research/market/lake.py",
        "pipelines/", "dvc.yaml", "params.yaml",
    ]  # fmt: skip
    assert linked_paths(SAMPLE) == ["docs/architecture.md"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX makefiles")
def test_makefile_targets_are_found():
    assert {"help", "install", "lock"} <= makefile_targets()
    assert "PYTHON" not in makefile_targets()
