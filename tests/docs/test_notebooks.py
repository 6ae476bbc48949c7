"""Every notebook runs from top to bottom without a warning, defines nothing, and is committed without outputs."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").glob("*.ipynb"))
MINUTES = 10


def code_cells(notebook) -> list[tuple[int, str]]:
    """Return (number, source) of the code cells, magics taken out."""
    cells = [(k, cell.source) for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    return [
        (k, "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))) for k, source in cells
    ]


def definitions(notebook) -> list[str]:
    """Return functions and classes that a notebook defines: what is worth a name belongs to the library."""
    return [
        f"cell {number}: {node.name}"
        for number, source in code_cells(notebook)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    ]


def complaints(notebook) -> list[str]:
    """Return what cells wrote to stderr, or said of a warning anywhere; progress bars are no complaint."""
    found = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            text = output.get("text", "") or str(output.get("data", {}).get("text/plain", ""))
            is_stderr = output.output_type == "stream" and output.name == "stderr" and not is_progress(text)
            if is_stderr or "Warning:" in text or "Traceback" in text:
                found.append(f"cell {number}: {text.strip()[:300]}")
    return found


def is_progress(text: str) -> bool:
    """Return whether every line is one of tqdm's: a percentage with its bar, or a count with its rate."""
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return all(("%|" in line or "it/s" in line or "s/it" in line or "it [" in line) for line in lines)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert definitions(notebook) == []
    assert [k for k, cell in enumerate(notebook.cells) if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# The kernel's client warns of its own event loop and sockets; the notebook's warnings are in its outputs.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_notebook_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PERPETUA_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=60 * MINUTES, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()  # a cell that fails raises CellExecutionError with its traceback
    assert complaints(notebook) == []


def test_complaints_are_seen():
    nbformat = pytest.importorskip("nbformat")
    stream = nbformat.v4.new_output

    def cell(*outputs):
        return nbformat.v4.new_code_cell("", outputs=list(outputs))

    loud = nbformat.v4.new_notebook(cells=[
        cell(stream("stream", name="stderr", text="x.py:1: UserWarning: odd\n")),
        cell(stream("stream", name="stdout", text="FutureWarning: soon\n")),
        cell(stream("stream", name="stderr", text="something was wrong\n")),
    ])  # fmt: skip
    assert len(complaints(loud)) == 3
    quiet = nbformat.v4.new_notebook(cells=[
        cell(stream("stream", name="stderr", text="\r 10%|#         | 1/10 [00:00<00:09]\r100%|##########| 10/10\n")),
        cell(stream("stream", name="stdout", text="sharpe 1.2\n"), stream("execute_result", data={"text/plain": "3"})),
    ])  # fmt: skip
    assert complaints(quiet) == []
    defining = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%time x = 1\ndef f():\n    return 1")])
    assert definitions(defining) == ["cell 0: f"]
