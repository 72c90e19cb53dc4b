"""What several tests share: the real data, and the command line run in this process."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.datasets import MNIST

from mnist_lightning.batches import LabelledImages
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.cli import main
from mnist_lightning.mnist_files import MNIST_FILES, read_mnist
from mnist_lightning.trained import load_classifier

PROJECT = Path(__file__).parent.parent

# Beside another busy process, two threads are several times slower than one: each waits for the other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def find_mnist() -> Path | None:
    """The directory above MNIST/raw: `MNIST_DATA_DIR`, else `../shared/mnist` or `data`; None if there is none."""
    named = os.environ.get("MNIST_DATA_DIR")
    for directory in [Path(named)] if named else [PROJECT.parent / "shared" / "mnist", PROJECT / "data"]:
        raw = directory / "MNIST" / "raw"
        if all((raw / file.name).exists() or (raw / f"{file.name}.gz").exists() for file in MNIST_FILES):
            return directory.resolve()
    return None


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    directory = find_mnist()
    if directory is None:
        pytest.skip("needs the MNIST files: set MNIST_DATA_DIR to the directory above MNIST/raw")
    return directory


@pytest.fixture(scope="session")
def mnist(mnist_dir: Path) -> tuple[LabelledImages, LabelledImages]:
    return read_mnist(mnist_dir)


@pytest.fixture(scope="session")
def trained() -> DigitClassifier:
    """The network that comes with the project: it reads MNIST."""
    return load_classifier(PROJECT / "models" / "mnist.ckpt")


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/mnist/"])  # the discard port: refused at once


@pytest.fixture
def packed_dir(mnist_dir: Path) -> Path:
    raw = mnist_dir / "MNIST" / "raw"
    if not all((raw / f"{file.name}.gz").exists() for file in MNIST_FILES):
        pytest.skip("needs the four .gz files")
    return raw


@pytest.fixture
def own_copy(packed_dir: Path, tmp_path: Path) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in MNIST_FILES:
        shutil.copy(packed_dir / f"{file.name}.gz", raw)
    return raw


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands name configs relative to the project."""
    monkeypatch.chdir(PROJECT)


Fit = Callable[..., Path]


@pytest.fixture
def fit(tmp_path: Path, in_project: None) -> Fit:
    """Runs `fit` on the offline digits, two short epochs unless told otherwise; returns the run's folder.

    `config` is the name of one of ours, or the path of another.
    """

    def run(*overrides: str, config: str = "offline") -> Path:
        before = set(tmp_path.glob("runs/*/version_*"))
        main(
            [
                *("fit", "--config", config if "/" in config else f"configs/{config}.yaml"),
                *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3"),
                *overrides,
                *("--trainer.default_root_dir", str(tmp_path / "runs")),
            ]
        )
        (folder,) = set(tmp_path.glob("runs/*/version_*")) - before
        return folder

    return run


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report
