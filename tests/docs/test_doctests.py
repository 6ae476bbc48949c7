"""Every example in a docstring runs, in a directory that is empty."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("research", "pipelines", "live")


def modules() -> list[str]:
    """Return every module of the packages, found without importing any."""
    found = []
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        found += [package, *(m.name for m in pkgutil.walk_packages(path, f"{package}."))]
    return found


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example that writes a file does not write into the checkout
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_examples_are_found():
    # Kernels are dispatchers, not functions: examples count only where doctest sees them.
    counted = sum(
        len(test.examples)
        for name in modules()
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
    )  # fmt: skip
    assert counted > 50
