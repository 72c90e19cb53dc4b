"""docs/tutorial.ipynb: committed with the outputs of a whole run, which a test repeats."""

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def kinds_of_outputs(notebook: dict[str, Any]) -> list[list[str]]:
    """Of each cell with code: such as `stream`, and `image/png` for a picture."""
    return [
        ["image/png" if "image/png" in output.get("data", ()) else output["output_type"] for output in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.slow
def test_the_notebook_runs_and_has_the_committed_outputs(
    mnist_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("MNIST_DATA_DIR", str(mnist_dir.resolve()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    committed = kinds_of_outputs(notebook)
    # NotebookClient raises CellExecutionError if a cell fails.
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert kinds_of_outputs(notebook) == committed
    assert {kind for kinds in committed for kind in kinds} == {"image/png", "stream"}  # no errors
