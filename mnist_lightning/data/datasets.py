"""The data sets: finds, verifies, downloads and reads their files; a stratified split."""

import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from torchvision import datasets

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.csv_files import read_csv_files
from mnist_lightning.data.image_files import find_classes, read_image_folder
from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.files import atomic_write

DatasetName = Literal["mnist", "fashion_mnist", "offline_digits", "folder", "csv"]

MAX_BYTES = 64 * 2**20  # the largest file has 47 MB unpacked; a forged one must not fill the memory
ELSEWHERE = "name another directory with --data.data_dir, --data_dir or MNIST_DATA_DIR"
DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
NUM_OFFLINE_TEST_DIGITS = 360  # a fifth
OFFLINE_SPLIT_SEED = 0  # constant, so that the test images never change


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of the training images' pixels, in [0, 1]."""

    mean: float
    std: float


MNIST_PIXELS = PixelStatistics(0.1307, 0.3081)


@dataclass(frozen=True)
class DataSet:
    """A data set of grey images with 28 × 28 pixels."""

    title: str  # in every output; says so if it could be taken for MNIST
    class_names: tuple[str, ...]  # in the order of the labels; none if the images are only to be predicted
    read: Callable[[str], tuple[LabelledImages, LabelledImages | None]]  # training and test images, from a directory;
    # without test images, the data module splits the training images
    statistics: PixelStatistics | None = None  # of the training images; None computes them when these are read


def stratified_split(labels: Tensor, num_held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Holds out the same share of every class, to within one image.

    Returns:
        Of labels (N,), the sorted int64 indices of the remaining images, and of the held-out images.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]  # class after class, shuffled within
    # Evenly spaced positions take the same share from each class.
    positions = (torch.arange(num_held_out) * len(labels)) // max(num_held_out, 1)
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[by_class[positions]] = True
    indices = torch.arange(len(labels))
    return indices[~is_held_out], indices[is_held_out]


def read_offline_digits(data_dir: str | None = None) -> tuple[LabelledImages, LabelledImages]:
    """1,437 training and 360 test images, enlarged from 8×8 to 20×20 and padded to MNIST's 28×28.

    Real digits without a download, but not MNIST: the test part of https://archive.ics.uci.edu/dataset/80, by other
    writers. scikit-learn holds them, not `data_dir`.
    """
    from sklearn.datasets import load_digits  # takes a second, and only this data set needs it

    pixels, target = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) * (255 / 16)  # (N, 1, 8, 8) in [0, 255]
    images = F.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    images = F.pad(images, [4, 4, 4, 4]).round().to(torch.uint8)  # (N, 1, 28, 28)
    labels = torch.from_numpy(target).long()
    train, test = stratified_split(labels, NUM_OFFLINE_TEST_DIGITS, OFFLINE_SPLIT_SEED)
    digits = LabelledImages(images, labels)
    return digits.subset(train), digits.subset(test)


@dataclass(frozen=True)
class IdxFiles:
    """The four files of a data set: training images and labels, test images and labels."""

    title: str  # the name of torchvision's class, and of the folder
    md5s: dict[str, str]  # of the unpacked files, by name

    def read(self, data_dir: str | Path) -> tuple[LabelledImages, LabelledImages]:
        """Reads training and test images from `data_dir`, or `TITLE/raw` in it, where missing files are downloaded."""
        arrays = [_parse_idx(content) for content in self.read_verified(Path(data_dir))]
        train, test = (
            LabelledImages(images.unsqueeze(1), labels.long()) for images, labels in (arrays[:2], arrays[2:])
        )
        return train, test

    def read_verified(self, data_dir: Path) -> list[bytes]:
        """The unpacked contents of the four files, after their checksums are verified."""
        raw_dir = data_dir / self.title / "raw"
        paths = {name: _find(name, raw_dir, data_dir) for name in self.md5s}
        contents = {name: _published_content(path, self.md5s[name]) for name, path in paths.items() if path is not None}
        if others := [f"  {paths[name]}\n" for name, content in contents.items() if content is None]:
            raise UserError(
                f"{self.title}: these files are damaged, or are not the published ones:\n{''.join(others)}"
                f"Move them away, then the published ones are downloaded; or {ELSEWHERE}."
            )
        return [contents.get(name) or self._download(name, raw_dir) for name in self.md5s]

    def _download(self, name: str, raw_dir: Path) -> bytes:
        source, name, problems = getattr(datasets, self.title), f"{name}.gz", []
        for address in (f"{mirror}{name}" for mirror in source.mirrors):
            print(f"Downloading {address}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    datasets.utils.download_url(address, folder, name, dict(source.resources)[name])
                except (OSError, RuntimeError, HTTPException) as error:
                    problems.append(f"  {address}: {error}\n")
                    continue
                packed = Path(folder, name).read_bytes()
            raw_dir.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(raw_dir / name):  # another process may have been faster
                atomic_write(raw_dir / name, packed)
            return gzip.decompress(packed)
        raise UserError(
            f"{self.title} was not found: {raw_dir} has no {name}, nor could it be downloaded:\n{''.join(problems)}"
            f"Put {', '.join(f'{each}.gz' for each in self.md5s)} there, or {ELSEWHERE}.\n"
            f"To train without a download: `{PROGRAM} fit --config configs/offline.yaml`"
        )


def default_data_dir() -> str:
    """The environment variable `MNIST_DATA_DIR`, else `data`."""
    return str(Path(os.environ.get("MNIST_DATA_DIR") or "data").expanduser())


def _find(name: str, *folders: Path) -> Path | None:
    """The first file of this name; packed or not, with a dot in its name or in a folder of its name, as on Kaggle."""
    names = [f"{spelling}{suffix}" for spelling in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    places = [*names, *(f"{folder}/{name}" for folder in names for name in names)]
    paths = [folder / place for folder in folders for place in places]
    return next((path for path in paths if os.path.lexists(path) and not path.is_dir()), None)


def _published_content(path: Path, md5: str) -> bytes | None:
    """The unpacked content, if this is its MD5."""
    with path.open("rb") as file:
        content = file.read(MAX_BYTES)
    if path.suffix == ".gz":
        try:
            content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, MAX_BYTES)  # 16: a gzip file
        except zlib.error:
            return None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def _parse_idx(content: bytes) -> Tensor:
    """Parses IDX (http://yann.lecun.com/exdb/mnist/): two zeros, type 8 for uint8, number of sizes, sizes, values."""
    num_sizes = content[3]
    sizes = np.frombuffer(content, dtype=">i4", count=num_sizes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_sizes)
    return torch.from_numpy(values.reshape(tuple(sizes)).copy())


MNIST = IdxFiles(
    "MNIST",
    {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)
FASHION_MNIST = IdxFiles(
    "FashionMNIST",
    {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)
DATA_SETS = {
    "mnist": DataSet("MNIST", DIGITS, MNIST.read, MNIST_PIXELS),
    "fashion_mnist": DataSet("Fashion-MNIST", CLOTHES, FASHION_MNIST.read, PixelStatistics(0.2860, 0.3530)),
    "offline_digits": DataSet(
        "NOT MNIST (scikit-learn's offline digits)", DIGITS, read_offline_digits, PixelStatistics(0.1557, 0.2774)
    ),
}


def data_set(name: DatasetName | str, data_dir: str, padding: int) -> DataSet:
    """The data set of this name; a `folder` is looked into for its classes, and CSV files are read."""
    title = Path(data_dir).resolve().name
    if name == "folder":
        return DataSet(f"{title} (image folder)", find_classes(data_dir), partial(read_image_folder, padding=padding))
    if name == "csv":
        class_names, train, test = read_csv_files(data_dir)
        return DataSet(f"{title} (CSV files)", class_names, lambda _: (train, test))
    return DATA_SETS[name]


def pixel_statistics(images: Tensor) -> PixelStatistics:
    """Mean and standard deviation of the pixels of images (N, 1, 28, 28) uint8, in [0, 1]."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.double, device=images.device) / 255
    mean = float((counts * values).sum() / counts.sum())
    return PixelStatistics(mean, float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5)
