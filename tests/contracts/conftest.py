"""The laws of a kernel, for every test of this folder."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def laws() -> ModuleType:
    """Return tests/contracts/laws.py as a module: test folders are not packages."""
    spec = importlib.util.spec_from_file_location("kernel_laws", Path(__file__).with_name("laws.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
