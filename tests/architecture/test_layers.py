"""Who may import whom. Every rule is a row of a table, and every row is tried on a planted violation too."""

import ast
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Imports only go up this list. Modules of one row may import each other.
PRODUCTION = (
    "research.errors", "research.kernel", "research.tables", "research.market", "research.features",
    "research.strategies",
    "research.risk", "research.execution",
    # Compositions of the rooms above: what research hands to live, and the proof that live did the same.
    "research.predictor", "research.policy", "research.bundle", "research.parity",
)  # fmt: skip
# live imports nothing from here on. Metrics stand above the backtest: a result describes itself with them, and they
# know arrays alone.
RESEARCH_ONLY = (
    "research.metrics", "research.backtest", "research.labels", "research.learning", "research.validation",
    "research.search", "research.report",
)  # fmt: skip
LAYERS = PRODUCTION + RESEARCH_ONLY

# Package: the project's packages that its modules may import.
PACKAGES = {"research": {"research"}, "pipelines": {"research", "pipelines"}, "live": {"research", "live"}}

# Third-party or standard module: the files that may import it, at any depth of the code.
GUARDED = {
    "mlflow": ("pipelines/tracking.py", "live/registry.py"),
    "requests": ("research/market/sources/*", "live/venues/*"),
    "socket": ("research/market/sources/*", "live/venues/*"),
    "pybit": ("research/market/sources/*", "live/venues/*"),
    "aiohttp": ("research/market/sources/*", "live/venues/*"),
    "httpx": ("research/market/sources/*", "live/venues/*"),
    "urllib3": ("research/market/sources/*", "live/venues/*"),
    "websocket": ("research/market/sources/*", "live/venues/*"),
    "websockets": ("research/market/sources/*", "live/venues/*"),
    "urllib.request": ("research/market/sources/*", "live/venues/*"),
    "http.client": ("research/market/sources/*", "live/venues/*"),
    "subprocess": ("pipelines/tracking.py",),
    "optuna": ("research/search/*",),
    "deap": ("research/search/*",),
    "dvc": (),
}

# The production line and live load none of these when they are imported; inside a function they may.
HEAVY = ("pandas", "plotly", "vectorbt", "optuna", "mlflow", "sklearn", "scipy", "lightgbm", "xgboost", "deap")


def sources() -> dict[str, str]:
    """Return path → text of every module of the three packages."""
    found = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
    return {p.relative_to(ROOT).as_posix(): p.read_text() for p in found}


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every absolute import; ``from a import b`` counts as ``a.b``."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def executed_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk what runs when a module is imported: no function bodies, nothing under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from executed_on_import(node)


def layer(name: str) -> int | None:
    return next((k for k, module in enumerate(LAYERS) if within(name, module)), None)


def goes_down(path: str, text: str) -> Iterator[str]:
    """Imports within research that go down the list, or name a module that is not in it."""
    mine = layer(module_name(path))
    if not path.startswith("research/") or path == "research/__init__.py":
        return
    if mine is None:
        yield f"{path}: {module_name(path)} has no place in LAYERS"
        return
    for line, name in imported(ast.walk(ast.parse(text))):
        theirs = layer(name) if within(name, "research") else mine
        if theirs is None or theirs > mine:
            yield f"{path}:{line} imports {name}, which stands below {LAYERS[mine]}"


def leaves_its_package(path: str, text: str) -> Iterator[str]:
    """Imports of one of the project's packages by another that must not know it."""
    package = path.split("/")[0]
    for line, name in imported(ast.walk(ast.parse(text))):
        top = name.split(".")[0]
        if top in PACKAGES and top not in PACKAGES[package]:
            yield f"{path}:{line} imports {name}: {package} knows {' and '.join(sorted(PACKAGES[package]))} alone"


def leaves_the_production_line(path: str, text: str) -> Iterator[str]:
    """Imports of research below the production line by live."""
    if not path.startswith("live/"):
        return
    for line, name in imported(ast.walk(ast.parse(text))):
        if within(name, "research") and not any(within(name, module) for module in PRODUCTION):
            yield f"{path}:{line} imports {name}, which is not of the production line"


def is_guarded(path: str, text: str) -> Iterator[str]:
    """Imports of a guarded module outside its files."""
    for line, name in imported(ast.walk(ast.parse(text))):
        for module, places in GUARDED.items():
            if within(name, module) and not any(fnmatch(path, place) for place in places):
                yield f"{path}:{line} imports {name}, which only {', '.join(places) or 'nothing'} may"


def loads_heavy(path: str, text: str) -> Iterator[str]:
    """Heavy modules loaded by merely importing the production line or live."""
    mine = layer(module_name(path))
    if not path.startswith("live/") and (mine is None or mine >= len(PRODUCTION)):
        return
    for line, name in imported(executed_on_import(ast.parse(text))):
        if name.split(".")[0] in HEAVY:
            yield f"{path}:{line} loads {name} when it is imported: import it where it is used"


def is_relative(path: str, text: str) -> Iterator[str]:
    """Relative imports: compiled code is named by a hash over absolute ones."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{path}:{node.lineno} imports relatively"


Rule = Callable[[str, str], Iterator[str]]
RULES: tuple[Rule, ...] = (
    goes_down, leaves_its_package, leaves_the_production_line, is_guarded, loads_heavy, is_relative
)  # fmt: skip

# Rule, path that the source pretends to be, source that breaks the rule there.
PLANTED: list[tuple[Rule, str, str]] = [
    (goes_down, "research/features/ema.py", "from research.labels import forward_return"),
    (goes_down, "research/features/ema.py", "def f():\n    import research.backtest.simulate"),
    (goes_down, "research/market/lake.py", "from research import execution"),
    (goes_down, "research/execution/account.py", "from research.policy import Policy"),
    (goes_down, "research/metrics/returns.py", "from research.backtest.result import Result"),
    (goes_down, "research/validation/gate.py", "from research.report import tear_sheet"),
    (goes_down, "research/kernel.py", "from research.market.bars import TS"),
    (goes_down, "research/oracle.py", ""),
    (leaves_its_package, "research/policy.py", "from live.ports import Clock"),
    (leaves_its_package, "research/search/study.py", "from pipelines.params import Params"),
    (leaves_its_package, "pipelines/gate.py", "import live.runner"),
    (leaves_its_package, "live/registry.py", "from pipelines import tracking"),
    *[
        (leaves_the_production_line, "live/decide.py", f"from research.{name} import x")
        for name in ("backtest", "metrics", "labels", "learning", "validation", "search", "report")
    ],
    (leaves_the_production_line, "live/decide.py", "from research import backtest"),
    *[(is_guarded, "pipelines/gate.py", f"def f():\n    import {name}") for name in GUARDED],
    (is_guarded, "research/learning/dataset.py", "from mlflow.tracking import MlflowClient"),
    (is_guarded, "live/feeds.py", "from urllib import request"),
    *[(loads_heavy, "research/predictor.py", f"from {name} import x") for name in HEAVY],
    (loads_heavy, "live/runner.py", "if True:\n    import pandas as pd"),
    (is_relative, "research/features/rsi.py", "from .ema import kernel"),
    (is_relative, "live/runner.py", "from . import ports"),
]

# What looks alike and is allowed.
INNOCENT: list[tuple[Rule, str, str]] = [
    (
        goes_down,
        "research/features/ema.py",
        "from research.market.bars import arrays\nfrom research.features import rsi",
    ),
    (goes_down, "research/report/page.py", "from research.validation.gate import GateVerdict"),
    (leaves_its_package, "pipelines/gate.py", "from research.validation import gate"),
    (leaves_the_production_line, "live/decide.py", "from research.policy import Policy\nimport numpy"),
    (is_guarded, "pipelines/tracking.py", "import mlflow"),
    (is_guarded, "live/venues/bybit.py", "import pybit.unified_trading"),
    (is_guarded, "research/policy.py", "import socketserver_like_name"),
    (loads_heavy, "research/predictor.py", "if TYPE_CHECKING:\n    import lightgbm\ndef f():\n    import lightgbm"),
    (loads_heavy, "research/report/figures.py", "import plotly"),
    (is_relative, "research/policy.py", "from research.features import rsi"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sources_keep_the_rule(rule):
    assert [found for path, text in sources().items() for found in rule(path, text)] == []


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_planted_violation_is_caught(rule, path, text):
    assert len(list(rule(path, text))) >= 1


@pytest.mark.parametrize(("rule", "path", "text"), INNOCENT)
def test_what_is_allowed_is_not_caught(rule, path, text):
    assert list(rule(path, text)) == []


def test_every_rule_has_a_planted_violation():
    assert {rule for rule, _, _ in PLANTED} == {rule for rule, _, _ in INNOCENT} == set(RULES)


def test_every_layer_exists():
    for name in LAYERS:
        stem = ROOT.joinpath(*name.split("."))
        assert stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file(), name
