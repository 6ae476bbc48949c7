"""What docs/*.md say is so: their Python runs, links lead somewhere, the README's example feature keeps the laws."""

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs").glob("*.md"))
every_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)


def fenced(path: Path, language: str) -> list[tuple[int, str]]:
    """Return (line, content) of every fenced block of a language."""
    text = path.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```\s*$", text, flags=re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match[1]) for match in found]


def heading_anchors(path: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Return links within the repository that lead to no file, or to no heading of it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in heading_anchors(file)):
            broken.append(target)
    return broken


def imported_from(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


@every_guide
def test_python_of_a_guide_runs(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = fenced(guide, "python")
    assert blocks
    namespace = {"__name__": guide.stem}
    for line, content in blocks:
        # With the guide's own line numbers: a failure points at the line that a reader sees.
        tree = ast.increment_lineno(ast.parse(content, str(guide)), line - 1)
        exec(compile(tree, str(guide), "exec"), namespace)


@pytest.mark.parametrize("page", [ROOT / "README.md", *GUIDES], ids=lambda path: path.stem)
def test_links_lead_to_files_and_headings(page):
    assert broken_links(page) == []


def test_a_broken_link_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One heading\n[a](page.md#one-heading) [b](#missing) [c](gone.md) [d](https://x.org/y)\n")
    assert broken_links(page) == ["#missing", "gone.md"]


def test_the_feature_that_the_readme_adds_keeps_the_laws(tmp_path, monkeypatch):
    laws_file = ROOT / "tests" / "contracts" / "laws.py"
    spec = importlib.util.spec_from_file_location("laws_of_the_readme", laws_file)
    assert spec is not None
    assert spec.loader is not None
    laws = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, laws)
    spec.loader.exec_module(laws)
    ((_, content),) = fenced(ROOT / "README.md", "py")
    path = tmp_path / "typical_return.py"
    path.write_text(content)
    feature = imported_from(path).SPEC
    for data, columns in laws.market(600).items():
        case = laws.Case(feature, feature.arguments(), columns, data)
        laws.chunk(case, range(1, case.n))
        laws.prefix(case, 301)
        laws.resume_here(case, 301)
        laws.restart(case, 301)
        laws.finite(case)
        laws.gap(case)
        laws.pure(case)
    walk = laws.market(600)["walk"]
    typical = (walk["high"] + walk["low"] + walk["close"]) / 3.0
    twin = np.diff(np.log(typical))
    found = feature.run([walk[name] for name in feature.inputs], (), feature.initial_state(()))[0]
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1:], twin, rtol=0.0, atol=1e-14)
