"""MNIST's files: verified, repaired by a download from a local mirror, or refused with a helpful error."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from mnist_lightning.data import datasets
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import MNIST as MNIST_FILES
from mnist_lightning.errors import UserError

TEST_LABELS = MNIST_FILES.files[3]


def test_the_sets_are_mnist(mnist: tuple[LabelledImages, LabelledImages]) -> None:
    (train, train_labels), (test, test_labels) = mnist
    assert train.shape == (60_000, 1, 28, 28)
    assert test.shape == (10_000, 1, 28, 28)
    assert train.dtype == test.dtype == torch.uint8
    assert train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(train.float().mean().item() / 255, 4) == 0.1307
    assert round(train.float().std().item() / 255, 4) == 0.3081


def test_unpacked_files_are_read_too(own_copy: Path, tmp_path: Path, no_mirror: None) -> None:
    packed = MNIST_FILES.read_verified(tmp_path, TEST_LABELS)
    (own_copy / f"{TEST_LABELS.name}.gz").unlink()
    (own_copy / TEST_LABELS.name).write_bytes(packed)
    assert MNIST_FILES.read_verified(tmp_path, TEST_LABELS) == packed


def test_missing_files_are_downloaded(
    tmp_path: Path, server: str, mnist: tuple[LabelledImages, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [f"{server}/good/"])
    assert torch.equal(MNIST_FILES.read(tmp_path)[1].images, mnist[1].images)
    names = sorted(path.name for path in (tmp_path / "MNIST" / "raw").iterdir())
    assert names == sorted(f"{file.name}.gz" for file in MNIST_FILES.files)


def test_the_error_says_everything_needed(tmp_path: Path, no_mirror: None) -> None:
    data_dir = tmp_path / "data"
    with pytest.raises(UserError) as error:
        MNIST_FILES.read(data_dir)
    assert not data_dir.exists()  # a failed download leaves no folders
    text = str(error.value)
    assert str(data_dir / "MNIST" / "raw") in text
    assert "http://127.0.0.1:9/mnist/" in text
    assert "configs/offline.yaml" in text
    assert "MNIST_DATA_DIR" in text
    for file in MNIST_FILES.files:
        assert f"{file.gz_md5}  {file.name}.gz" in text


def test_the_check_of_the_files_fails_without_them(
    tmp_path: Path, no_mirror: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`make quickstart` then trains on the offline digits."""
    monkeypatch.setattr(sys, "argv", ["datasets", "mnist", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        datasets.main()
    assert "configs/offline.yaml" in capfd.readouterr().err


def test_a_directory_that_holds_the_files_need_not_be_writable(own_copy: Path, no_mirror: None) -> None:
    is_root = os.geteuid() == 0
    # Not under pytest's directory, which other users cannot access.
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        data_dir.chmod(0o755)
        raw = shutil.copytree(own_copy, data_dir / "MNIST" / "raw")
        raw.chmod(0o555)
        before = sorted(path.name for path in raw.iterdir())
        if is_root:
            os.seteuid(65534)  # root can write regardless of the mode
        try:
            with pytest.raises(PermissionError):
                (raw / "new").touch()
            MNIST_FILES.read(data_dir)
        finally:
            if is_root:
                os.seteuid(0)
            raw.chmod(0o755)
        assert sorted(path.name for path in raw.iterdir()) == before


def test_command_verifies(tmp_path: Path, mnist_dir: Path) -> None:
    command = [sys.executable, "-m", "mnist_lightning.data.datasets", "mnist", str(mnist_dir)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert "MNIST: 60,000 training images, whose pixels have mean 0.1307 and standard deviation 0.3081" in found.stdout
