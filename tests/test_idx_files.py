"""MNIST's files: found under their usual names, verified, downloaded if they are missing, and never overwritten."""

import gzip
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST, FashionMNIST

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import CLOTHES, FASHION_MNIST
from mnist_lightning.data.datasets import MNIST as MNIST_FILES
from mnist_lightning.errors import UserError
from support.runs import contents

TEST_IMAGES, TEST_LABELS = list(MNIST_FILES.md5s)[2:]


@pytest.fixture
def raw(mnist_dir: Path, tmp_path: Path) -> Path:
    """A copy of MNIST/raw in a directory of its own."""
    copy = tmp_path / "data" / "MNIST" / "raw"
    copy.mkdir(parents=True)
    for name in MNIST_FILES.md5s:
        path = mnist_dir / "MNIST" / "raw" / f"{name}.gz"
        if not path.exists():
            pytest.skip("needs the four .gz files")
        shutil.copy(path, copy)
    return copy


@pytest.fixture
def mirror(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with a faulty mirror, `half`, and of `good`, which is the one that torchvision knows."""
    shutil.copytree(raw, tmp_path / "served" / "good")
    (tmp_path / "served" / "half").mkdir()
    for path in raw.iterdir():
        (tmp_path / "served" / "half" / path.name).write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    files = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with HTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(MNIST, "mirrors", [f"{address}/good/"])
        yield address
        server.shutdown()


def test_the_sets_are_mnist(mnist: tuple[LabelledImages, LabelledImages]) -> None:
    (train, train_labels), (test, test_labels) = mnist
    assert train.shape == (60_000, 1, 28, 28)
    assert test.shape == (10_000, 1, 28, 28)
    assert train.dtype == test.dtype == torch.uint8
    assert train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test_labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_fashion_mnist(fashion_dir: Path) -> None:
    train, test = FASHION_MNIST.read(fashion_dir)
    assert train.images.shape == (60_000, 1, 28, 28)
    assert test.labels.bincount().tolist() == [1000] * 10
    assert list(CLOTHES) == FashionMNIST.classes


PLACES = [
    "MNIST/raw/t10k-images.idx3-ubyte",
    "t10k-images-idx3-ubyte.gz",
    "MNIST/raw/t10k-images.idx3-ubyte/t10k-images-idx3-ubyte",
]


@pytest.mark.parametrize("place", PLACES)
def test_the_published_bytes_are_found(place: str, raw: Path, no_mirror: None) -> None:
    """Also packed again, and where Kaggle's archives put them."""
    data_dir = raw.parents[1]
    content = gzip.decompress((raw / f"{TEST_IMAGES}.gz").read_bytes())
    (raw / f"{TEST_IMAGES}.gz").unlink()
    (data_dir / place).parent.mkdir(exist_ok=True)
    (data_dir / place).write_bytes(gzip.compress(content, compresslevel=1) if place.endswith(".gz") else content)
    assert MNIST_FILES.read_verified(data_dir)[2] == content


def test_missing_files_are_downloaded(mirror: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [f"{mirror}/{kind}/" for kind in ("missing", "half", "good")])
    data_dir = tmp_path / "new"
    assert MNIST_FILES.read_verified(data_dir) == MNIST_FILES.read_verified(raw.parents[1])
    assert contents(data_dir / "MNIST" / "raw") == contents(raw)


NOT_PUBLISHED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "of its own": (TEST_IMAGES, lambda _: struct.pack(">HBBiii", 0, 8, 3, 2, 28, 28) + bytes(2 * 28 * 28)),
    "half downloaded": (f"{TEST_IMAGES}.gz", lambda packed: packed[: len(packed) // 2]),
    "one bit": (f"{TEST_IMAGES}.gz", lambda packed: packed[:1000] + bytes([packed[1000] ^ 4]) + packed[1001:]),
    "of other images": (f"{TEST_LABELS}.gz", lambda packed: packed),
}


@pytest.mark.parametrize("kind", NOT_PUBLISHED)
def test_a_file_that_is_not_the_published_one_is_named_and_kept(kind: str, mirror: str, raw: Path) -> None:
    """Even if it could be downloaded; nor is anything else."""
    name, change = NOT_PUBLISHED[kind]
    packed = (raw / f"{TEST_IMAGES}.gz").read_bytes()
    for path in raw.iterdir():
        path.unlink()
    (raw / name).write_bytes(change(packed))
    before = contents(raw)
    with pytest.raises(UserError, match=f"not the published ones:\n  {raw / name}\nMove them away.*--data.data_dir"):
        MNIST_FILES.read(raw.parents[1])
    assert contents(raw) == before


def test_the_error_says_everything_needed(tmp_path: Path, no_mirror: None) -> None:
    data_dir = tmp_path / "data"
    with pytest.raises(UserError) as error:
        MNIST_FILES.read(data_dir)
    assert not data_dir.exists()  # a failed download leaves no folders
    for part in (data_dir / "MNIST" / "raw", "http://127.0.0.1:9/mnist/", "configs/offline.yaml", "MNIST_DATA_DIR"):
        assert str(part) in str(error.value)
    for name in MNIST_FILES.md5s:
        assert f"{name}.gz" in str(error.value)
