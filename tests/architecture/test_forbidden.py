"""What may be done where: files, clock, environment, chance; and what is done nowhere. Every rule is planted too."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("research", "pipelines", "live")


@dataclass(frozen=True)
class Power:
    """A power over the world outside, and the files that have it.

    ``names`` match a dotted name after imports are resolved (``pl.read_csv`` is ``polars.read_csv``), ``methods`` the
    last part of any attribute that is called, whatever the object.
    """

    name: str
    names: str
    methods: str
    places: tuple[str, ...]


POWERS = (
    Power(
        "files",
        r"open|io\.open|os\.(open|replace|rename|remove|unlink|makedirs|mkdir|rmdir|listdir|scandir|walk|stat|fsync|link)"
        r"|(shutil|tempfile|glob|fcntl|mmap|sqlite3)\..*|polars\.(read|scan)_.*|pandas\.read_.*"
        r"|numpy\.(load|save|savez|savetxt|loadtxt|genfromtxt|fromfile|memmap)|json\.(load|dump)|pickle\..*",
        r"open|(read|write)_(text|bytes)|(write|sink)_(parquet|csv|ipc|json|ndjson|html)|to_(parquet|csv|pickle)"
        r"|mkdir|rmdir|unlink|touch|iterdir|rglob|is_file|is_dir|tofile|symlink_to|hardlink_to",
        (
            "research/market/lake*.py", "research/market/sources/*", "research/kernel.py", "pipelines/*",
            "live/journal.py", "live/registry.py", "live/bundle_files.py", "live/feeds*.py", "live/settings.py",
        ),
    ),
    Power(
        "clock",
        r"time\.(time|monotonic|perf_counter|process_time)(_ns)?|time\.(sleep|localtime|gmtime)"
        r"|datetime\.datetime\.(now|utcnow|today)|datetime\.date\.today",
        r"(?!)",
        (
            "live/ports.py", "live/settings.py", "pipelines/tracking.py",
            "research/backtest/stopwatch.py",  # durations alone, for a sweep's plan and its checkpoints
            "pipelines/download.py", "pipelines/import_files.py", "pipelines/promote.py",
        ),
    ),
    Power(
        "environment",
        r"os\.(environ|environb|getenv|putenv|getcwd|chdir)(\..*)?|pathlib\.Path\.(cwd|home)",
        r"expanduser",
        ("live/ports.py", "live/settings.py", "pipelines/tracking.py"),
    ),
    Power(
        # A generator made from a seed is an argument; the two modules' own generators are global state.
        "global randomness",
        r"random\.(?!Random$).*|secrets\..*|uuid\.uuid[14]|os\.urandom"
        r"|numpy\.random\.(?!default_rng$|Generator$|SeedSequence$|BitGenerator$|PCG64(DXSM)?$|Philox$).*",
        r"(?!)",
        ("research/search/evolve.py",),  # DEAP draws from the module: its state is borrowed under a lock and given back
    ),
)  # fmt: skip

# What a name may not be, and how that of a module, class or function may not end: it says how, not what.
BAD_NAMES = re.compile(r"_*(utils?|helpers?|managers?|data)", re.IGNORECASE)
BAD_ENDINGS = re.compile(r".*_(nb|fast|v2)", re.IGNORECASE)
BAD_CLASSES = re.compile(r".*(Manager|Helper|Utils?|V2)|Data")


def sources() -> dict[str, str]:
    """Return path → text of every module of the three packages."""
    found = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
    return {p.relative_to(ROOT).as_posix(): p.read_text() for p in found}


def dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """Return the dotted name of an expression with imports resolved, empty where it is none."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, aliases)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def aliases_of(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(power: Power, path: str, text: str) -> Iterator[str]:
    """Uses of a power outside its places."""
    if any(fnmatch(path, place) for place in power.places):
        return
    tree = ast.parse(text)
    aliases = aliases_of(tree)
    in_memory = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call) and reads_memory(call, aliases)}
    called = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call)}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Name, ast.Attribute)) or id(node) in in_memory:
            continue
        name = dotted(node, aliases)
        builtin = name == "open" and id(node) in called  # called: an array of opening prices may have the name
        if name and re.fullmatch(power.names, name) and (builtin or is_imported(node, aliases)):
            yield f"{path}:{node.lineno} uses {name} ({power.name})"
        elif isinstance(node, ast.Attribute) and id(node) in called and re.fullmatch(power.methods, node.attr):
            yield f"{path}:{node.lineno} calls .{node.attr} ({power.name})"


def is_imported(node: ast.AST, aliases: dict[str, str]) -> bool:
    """Return whether a dotted name starts at an import: a variable may be called ``time``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in aliases


def reads_memory(call: ast.Call, aliases: dict[str, str]) -> bool:
    """Return whether a reader is given bytes in memory: ``pl.read_parquet(io.BytesIO(blob))``."""
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Call) and dotted(first.func, aliases) in ("io.BytesIO", "io.StringIO")


def forbidden(path: str, text: str) -> Iterator[str]:
    """What no module does."""
    tree = ast.parse(text)
    aliases = aliases_of(tree)
    for node in ast.walk(tree):
        at = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Global):
            yield f"{at} global statement"
        elif isinstance(node, ast.Assert):
            yield f"{at} assert: raise an error of research.errors, asserts are removed by -O"
        elif isinstance(node, ast.ExceptHandler) and is_broad(node):
            yield f"{at} broad except"
        elif isinstance(node, ast.keyword) and node.arg == "fastmath" and not is_constant(node.value, False):
            yield f"{path}:{node.value.lineno} fastmath"
        elif isinstance(node, ast.Call):
            name = dotted(node.func, aliases)
            if name == "print" and path.startswith("research/") and not path.endswith("/__main__.py"):
                yield f"{at} print in library code"
            if name in ("eval", "exec", "__import__"):
                yield f"{at} {name}"
            if name == "numpy.random.default_rng" and not node.args and not node.keywords:
                yield f"{at} default_rng() without a seed"
        elif is_mode(node) and path != "live/runner.py":
            yield f"{at} is_live: modes differ in the runner's wiring alone"


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler swallows everything; one that cleans up and raises again does not."""
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(c is None or (isinstance(c, ast.Name) and c.id in ("Exception", "BaseException")) for c in caught)


def is_mode(node: ast.AST) -> bool:
    return isinstance(node, (ast.Name, ast.Attribute)) and dotted(node, {}).split(".")[-1] == "is_live"


def is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def badly_named(path: str, text: str) -> Iterator[str]:
    """Modules, packages, classes, functions and variables whose name says nothing, or says how instead of what."""
    for part in path.removesuffix(".py").split("/"):
        if BAD_NAMES.fullmatch(part) or BAD_ENDINGS.fullmatch(part):
            yield f"{path} is called {part}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = node.name
            bad = BAD_ENDINGS.fullmatch(name) or (isinstance(node, ast.ClassDef) and BAD_CLASSES.fullmatch(name))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name, bad = node.id, None
        elif isinstance(node, ast.arg):
            name, bad = node.arg, None
        else:
            continue
        if bad or BAD_NAMES.fullmatch(name):
            yield f"{path}:{node.lineno} {name}"


def misplaced(root: Path) -> Iterator[str]:
    """Files whose mere presence breaks imports.

    A module in ``mlflow/`` or a package ``tests/mlflow`` shadows the installed one, and an ``__init__.py`` below
    ``tests`` makes two test modules of one name collide.
    """
    for path in (*(root / "mlflow").rglob("*.py"), *(root / "tests").rglob("__init__.py"), root / "tests" / "mlflow"):
        if path.exists():
            yield path.relative_to(root).as_posix()


@pytest.mark.parametrize("power", POWERS, ids=lambda power: power.name)
def test_power_is_used_in_its_places_alone(power):
    assert [found for path, text in sources().items() for found in uses(power, path, text)] == []


@pytest.mark.parametrize("rule", [forbidden, badly_named], ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule):
    assert [found for path, text in sources().items() for found in rule(path, text)] == []


def test_nothing_shadows_a_package():
    assert list(misplaced(ROOT)) == []


PLANTED_POWERS = {
    "files": (
        "open('x')", "import pathlib\npathlib.Path('x').read_text()", "p.write_bytes(b'')", "frame.write_parquet('x')",
        "import polars as pl\npl.read_parquet('x')", "import polars as pl\npl.scan_parquet(path)", "path.open('rb')",
        "import os\nos.replace(a, b)", "from os import replace as move\nmove(a, b)", "import numpy as np\nnp.load('x')",
        "import shutil\nshutil.rmtree(x)", "import tempfile\ntempfile.mkdtemp()", "import json\njson.load(f)",
    ),
    "clock": (
        "import time\ntime.time()", "import time as t\nt.time_ns()", "from time import monotonic\nmonotonic()",
        "from datetime import datetime\ndatetime.now(UTC)", "import datetime\ndatetime.datetime.utcnow()",
        "import time\nrun(clock=time.perf_counter)", "from datetime import date\ndate.today()",
    ),
    "environment": (
        "import os\nos.environ['X']", "import os\nos.environ.get('X')", "from os import environ\nenviron['X']",
        "import os\nos.getenv('X')", "from pathlib import Path\nPath.home()", "from pathlib import Path\nPath.cwd()",
    ),
    "global randomness": (
        "import random\nrandom.random()", "import numpy as np\nnp.random.seed(1)",
        "from numpy.random import normal\nnormal()",
        "import uuid\nuuid.uuid4()", "from random import choice\nchoice(x)",
    ),
}  # fmt: skip
PLANTED = {
    "global": "def f():\n    global x\n    x = 1", "assert": "assert x > 0",
    "bare": "try:\n    f()\nexcept:\n    pass", "broad": "try:\n    f()\nexcept Exception:\n    pass",
    "base": "try:\n    f()\nexcept (OSError, BaseException):\n    pass",
    "print": "print('x')", "fastmath": "numba.njit(fastmath=True)", "flags": "numba.njit(fastmath={'nnan'})",
    "unseeded": "import numpy as np\nnp.random.default_rng()", "live": "if settings.is_live:\n    pass",
    "eval": "eval('1')",
}  # fmt: skip
NAMES = {
    "research/utils.py": "", "research/market/helpers/x.py": "", "research/ema_nb.py": "", "research/a.py": "data = 1",
    "research/b.py": "class OrderManager: ...", "research/c.py": "def ema_fast(): ...",
    "research/d.py": "def f(data): ...",
    "research/e.py": "class Data: ...", "research/f.py": "def sweep_v2(): ...", "research/manager.py": "",
}  # fmt: skip
INNOCENT = (
    "import polars as pl, io\npl.read_parquet(io.BytesIO(blob))\nx = time * open_\nbars['open'].rename('x')\n"
    "import numpy as np\nnp.random.default_rng(seed)\nnp.random.Generator\nnumba.njit(fastmath=False)\n"
    "from datetime import datetime\ndatetime.fromisoformat('2024-01-01')\ndataset = 1\nbreakfast = 2\n"
    "try:\n    f()\nexcept (OSError, ValueError):\n    pass\nexcept BaseException:\n    undo()\n    raise\n"
    "def f(open, keep_fast):\n    return {'open': open}\n"
)


@pytest.mark.parametrize(("power", "text"), [(p, text) for p in POWERS for text in PLANTED_POWERS[p.name]])
def test_planted_use_is_caught(power, text):
    assert len(list(uses(power, "research/features/ema.py", text))) >= 1
    for place in power.places:
        assert list(uses(power, place.replace("*", "x.py").replace("x.py.py", ".py"), text)) == []


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_planted_construct_is_caught(text):
    assert len(list(forbidden("research/features/ema.py", text))) >= 1


@pytest.mark.parametrize("path", NAMES)
def test_planted_name_is_caught(path):
    assert len(list(badly_named(path, NAMES[path]))) >= 1


def test_planted_shadows_are_caught(tmp_path):
    for name in ("mlflow/__init__.py", "tests/mlflow/test_x.py", "tests/test_live/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(misplaced(tmp_path)) == {"mlflow/__init__.py", "tests/mlflow", "tests/test_live/__init__.py"}


def test_what_is_allowed_is_not_caught():
    found = [list(uses(power, "research/policy.py", INNOCENT)) for power in POWERS]
    assert found == [[] for _ in POWERS]
    assert list(forbidden("research/policy.py", INNOCENT)) == []
    assert list(badly_named("research/policy.py", INNOCENT)) == []
