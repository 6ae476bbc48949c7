"""What a bundle is held against: the code of its kernels, and nothing that does not compute."""

import importlib.util

import pytest

from research.features import CATALOGUE
from research.kernel import code_hash

SOURCE = '''"""Module."""
from research.kernel import kernel

FACTOR = 2.0
UNUSED = 1.0


@kernel
def doubled(value):
    """Return it doubled."""
    return value * FACTOR


@kernel
def shifted(value, state, out):
    """Return it shifted."""
    out[0, 0] = doubled(value) + 1.0  # a comment
'''


def identity(folder, source):
    path = folder / "kernels_under_test.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("kernels_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    import linecache

    linecache.checkcache(str(path))
    return code_hash([module.shifted])


@pytest.mark.parametrize(
    ("old", "new"),
    [("# a comment", "# another, longer comment"), ("Return it doubled.", "Twice."), ("Module.", "A module.\\n"),
     ("UNUSED = 1.0", "UNUSED = 3.0"), ("value * FACTOR", "(value * FACTOR)")],
)  # fmt: skip
def test_what_does_not_compute_does_not_count(tmp_path, old, new):
    assert old in SOURCE
    assert identity(tmp_path, SOURCE) == identity(tmp_path, SOURCE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("FACTOR = 2.0", "FACTOR = 2.5"),
        ("value * FACTOR", "FACTOR / value"),
        ("+ 1.0", "- 1.0"),
        ("out[0, 0]", "out[0, 1]"),
    ],
)
def test_a_helper_a_constant_and_the_kernel_itself_count(tmp_path, old, new):
    assert old in SOURCE
    assert identity(tmp_path, SOURCE) != identity(tmp_path, SOURCE.replace(old, new))


def test_every_feature_has_an_identity_of_its_own():
    assert len({code_hash([spec.kernel]) for spec in CATALOGUE.values()}) == len(CATALOGUE)


def test_whole_modules_count_without_their_comments(tmp_path):
    kernel = CATALOGUE["ema"].kernel
    (tmp_path / "m.py").write_text("x = 1  # one\n")
    first = code_hash([kernel], [tmp_path / "m.py"])
    (tmp_path / "m.py").write_text('"""Doc."""\nx = 1\n')
    assert code_hash([kernel], [tmp_path / "m.py"]) != code_hash([kernel])
    (tmp_path / "m.py").write_text("# none\nx = 1\n")
    assert code_hash([kernel], [tmp_path / "m.py"]) == first
    (tmp_path / "m.py").write_text("x = 2\n")
    assert code_hash([kernel], [tmp_path / "m.py"]) != first
