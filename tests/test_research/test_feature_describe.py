"""The catalogue in words, on the command line and as a page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from research.errors import InvalidInput
from research.features import CATALOGUE, FAMILIES
from research.features.__main__ import main
from research.features.describe import describe, described, listing, page

ROOT = Path(__file__).resolve().parents[2]
every_feature = pytest.mark.parametrize("name", CATALOGUE)


def test_every_family_and_feature_is_listed_once():
    text = listing()
    for family, specs in FAMILIES.items():
        assert f"{family.upper()}: " in text
        assert specs, family
        for spec in specs:
            assert len(re.findall(rf"^  {spec.name} ", text, flags=re.M)) == 1
    assert f"{len(CATALOGUE)} features" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "RSI" not in listing("calendar")
    with pytest.raises(InvalidInput, match="family must be one of trend"):
        listing("trends")


@every_feature
def test_a_docstring_tells_every_parameter_and_what_comes_out(name):
    spec = CATALOGUE[name]
    told = described(spec)
    assert told.summary.endswith(".")
    assert [param.name for param in spec.params if not told.parameters.get(param.name)] == []
    assert told.parameters["out"]
    assert told.parameters["state"]


@every_feature
def test_a_description_holds_all_that_the_registry_knows(name):
    spec, text = CATALOGUE[name], describe(name)
    for param in spec.params:
        assert f"{param.name} = {param.default} [{param.low} to {param.high}]" in text
    for part in (spec.unit, spec.reference, *spec.column_names(name)):
        assert part in text


def test_the_page_is_that_of_the_registry():
    stored = (ROOT / "docs" / "features.md").read_text()
    assert stored == page(), "docs/features.md is old: python -m research.features --page > docs/features.md"
    links = re.findall(r"\]\(#([\w-]+)\)", stored)
    headings = {line.lower().replace(" ", "-") for line in re.findall(r"^#{2,3} (.+)$", stored, flags=re.M)}
    assert len(links) == len(set(links))
    assert set(links) == headings - {"inputs"}


def test_the_command_line_answers_and_refuses(capsys):
    assert main([]) == 0
    assert "supertrend" in capsys.readouterr().out
    assert main(["--describe", "rsi"]) == 0
    assert "length = 14 [2 to 100000]" in capsys.readouterr().out
    assert main(["--family", "calendar"]) == 0
    assert main(["--describe", "rsy"]) == 2
    assert "received 'rsy'" in capsys.readouterr().err


def test_the_module_runs():
    run = subprocess.run(
        [sys.executable, "-m", "research.features", "--describe", "supertrend"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    assert run.stdout.startswith("supertrend: ")
    assert run.stderr == ""
