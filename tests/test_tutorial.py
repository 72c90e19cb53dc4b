"""docs/tutorial.ipynb: committed with the outputs of a whole run, which a test repeats."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"

Cell = dict[str, Any]


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds_of_outputs(cell: Cell) -> list[str]:
    """Such as `stream`, and `image/png` for a picture."""
    return [
        "image/png" if "image/png" in output.get("data", ()) else output["output_type"] for output in cell["outputs"]
    ]


def test_the_committed_notebook_was_run_from_start_to_end() -> None:
    cells = code_cells(json.loads(NOTEBOOK.read_text("utf-8")))
    assert [cell["execution_count"] for cell in cells] == list(range(1, 1 + len(cells)))
    kinds = [kind for cell in cells for kind in kinds_of_outputs(cell)]
    assert kinds.count("image/png") == 4  # a batch, the curves, and the mistakes of two data sets
    assert set(kinds) == {"image/png", "stream"}  # no errors
    texts = ["".join(output.get("text", "")) for cell in cells for output in cell["outputs"]]
    assert "MNIST test accuracy after 2 epochs: 99." in "".join(texts)
    assert "arning" not in "".join(texts)


@pytest.mark.slow
def test_the_notebook_runs(mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MNIST_DATA_DIR", str(mnist_dir.resolve()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    committed = [kinds_of_outputs(cell) for cell in code_cells(notebook)]
    # NotebookClient raises CellExecutionError if a cell fails.
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [kinds_of_outputs(cell) for cell in code_cells(notebook)] == committed
