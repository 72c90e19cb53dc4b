"""Shared fixtures: the real data, and runs of `fit` in this process."""

import logging
import os
import random
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.utilities import rank_zero_only
from matplotlib import pyplot as plt
from torchvision.datasets import MNIST
from tqdm import tqdm  # type: ignore[import-untyped]

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import MNIST as MNIST_FILES
from mnist_lightning.data.datasets import read_offline_digits
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import PROJECT, Fit, contents

# Beside another busy process, two threads are several times slower than one, because each waits for the other.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# `make test` needs no Playwright; `make test-browser` installs it.
collect_ignore_glob = [] if find_spec("playwright") else ["*_in_browser.py"]
tqdm.monitor_interval = 0  # no thread that redraws progress bars


@pytest.fixture(autouse=True)
def _state_of_the_process() -> Iterator[None]:
    """Seeds the random numbers before each test, and restores the state of the process after it."""
    directory, environment, arguments = Path.cwd(), dict(os.environ), sys.argv.copy()
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    levels = {name: logging.getLogger(name).level for name in ("", "lightning.pytorch", "lightning.fabric")}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    dtype, picks_fastest = torch.get_default_dtype(), torch.backends.cudnn.benchmark
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    yield
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = arguments
    rank_zero_only.rank = rank  # type: ignore[attr-defined]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.set_num_threads(1)
    torch.set_default_dtype(dtype)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = picks_fastest
    plt.close("all")


def find_mnist() -> Path | None:
    """The directory that holds MNIST/raw: `MNIST_DATA_DIR`, else `../shared/mnist` or `data`; None if not found."""
    named = os.environ.get("MNIST_DATA_DIR")
    for directory in [Path(named)] if named else [PROJECT.parent / "shared" / "mnist", PROJECT / "data"]:
        raw = directory / "MNIST" / "raw"
        if all((raw / name).exists() or (raw / f"{name}.gz").exists() for name in MNIST_FILES.md5s):
            return directory.resolve()
    return None


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    directory = find_mnist()
    if directory is None:
        pytest.skip("needs the MNIST files: set MNIST_DATA_DIR to the directory that holds MNIST/raw")
    return directory


@pytest.fixture(scope="session")
def fashion_dir(mnist_dir: Path) -> Path:
    """The directory of Fashion-MNIST's files: beside MNIST's, or where Debian's package puts them."""
    for directory in (mnist_dir, mnist_dir.with_name("fashion_mnist"), Path("/usr/share/datasets/fashion-mnist")):
        if (directory / "FashionMNIST" / "raw").is_dir() or (directory.name == "fashion-mnist" and directory.is_dir()):
            return directory
    pytest.skip("needs Fashion-MNIST's files, in Debian's package dataset-fashion-mnist")


@pytest.fixture(scope="session")
def kaggle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CSV files of scikit-learn's digits: 400 training images with labels, and 100 test images without."""
    folder = tmp_path_factory.mktemp("files") / "kaggle"
    folder.mkdir()
    images, labels = (part[:500].numpy() for part in read_offline_digits()[0])
    pixels = images.reshape(500, -1)
    names = ",".join(f"pixel{place}" for place in range(784))
    train = np.column_stack([labels, pixels])[:400]
    np.savetxt(folder / "train.csv", train, "%d", ",", header=f"label,{names}", comments="")
    np.savetxt(folder / "test.csv", pixels[400:], "%d", ",", header=names, comments="")
    return folder


@pytest.fixture(scope="session")
def mnist(mnist_dir: Path) -> tuple[LabelledImages, LabelledImages]:
    return MNIST_FILES.read(mnist_dir)


@pytest.fixture(scope="session")
def trained() -> DigitClassifier:
    """The model that ships with the project."""
    return load_classifier(PROJECT / "models" / "mnist.ckpt")


@pytest.fixture
def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/mnist/"])  # the discard port refuses connections


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes to the project's directory, because commands use relative paths of configs."""
    monkeypatch.chdir(PROJECT)


SHORT = ("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "3")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a short run of `offline.yaml` with dashboards; tests must not change it."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        main(["fit", "--config", "configs/offline.yaml", *SHORT, "--trainer.default_root_dir", str(root)])
    before = contents(root)
    yield root / "offline" / "version_0"
    assert contents(root) == before


@pytest.fixture
def fit(tmp_path: Path, in_project: None) -> Fit:
    """A function that runs `fit`, by default two short epochs on the offline digits, and returns the run's folder.

    `config` is the name of a file in configs/, or a path. Dashboards are off unless `dashboards` is true or a logger is
    set, because they double the time.
    """

    def run(*overrides: str, config: str = "offline", dashboards: bool = False) -> Path:
        shows = dashboards or any(word.startswith("--trainer.logger") for word in overrides)
        before = set(tmp_path.glob("runs/*/version_*"))
        main(
            [
                *("fit", "--config", config if "/" in config else f"configs/{config}.yaml", *SHORT),
                *(() if shows else ("--trainer.logger", "false")),
                *overrides,
                *("--trainer.default_root_dir", str(tmp_path / "runs")),
            ]
        )
        (folder,) = set(tmp_path.glob("runs/*/version_*")) - before
        return folder

    return run
