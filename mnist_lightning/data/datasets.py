"""The data sets: their classes, pixels and files, and a stratified split."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.idx_files import IdxFiles
from mnist_lightning.data.image_files import find_classes, read_image_folder

DatasetName = Literal["mnist", "fashion_mnist", "offline_digits", "folder"]

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
    class_names: tuple[str, ...]  # in the order of the labels
    read: Callable[[str], tuple[LabelledImages, LabelledImages]]  # training and test images, from a directory
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
    return LabelledImages(images[train], labels[train]), LabelledImages(images[test], labels[test])


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


def data_set(name: DatasetName | str, data_dir: str) -> DataSet:
    """The data set of this name; a `folder` is looked into for its classes."""
    if name == "folder":
        return DataSet(f"{Path(data_dir).resolve().name} (image folder)", find_classes(data_dir), read_image_folder)
    return DATA_SETS[name]


def pixel_statistics(images: Tensor) -> PixelStatistics:
    """Mean and standard deviation of the pixels of images (N, 1, 28, 28) uint8, in [0, 1]."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.double, device=images.device) / 255
    mean = float((counts * values).sum() / counts.sum())
    return PixelStatistics(mean, float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5)
