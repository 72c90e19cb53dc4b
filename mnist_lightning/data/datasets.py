"""The data sets: their classes, pixels and files.

`python -m mnist_lightning.data.datasets [NAME [DATA_DIR]]` verifies the files of a data set, downloads missing ones and
prints the statistics of its images; it exits with status 2 on failure.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.idx_files import IdxFile, IdxFiles, default_data_dir
from mnist_lightning.data.image_folder import find_classes, read_image_folder
from mnist_lightning.data.offline_digits import read_offline_digits
from mnist_lightning.errors import UserError

DatasetName = Literal["mnist", "fashion_mnist", "kmnist", "qmnist", "qmnist50k", "offline_digits", "folder"]

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
HIRAGANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


class PixelStatistics(NamedTuple):
    """Mean and standard deviation of the training images' pixels, in [0, 1]."""

    mean: float
    std: float


MNIST_PIXELS = PixelStatistics(0.1307, 0.3081)


@dataclass(frozen=True)
class DataSet:
    """A data set of grey images with 28 × 28 pixels.

    Args:
        title: Its name in every output; says so if it could be taken for MNIST.
        class_names: The names of the classes, in the order of the labels.
        read: Reads training and test images from a directory.
        statistics: Of the training images, as `python -m mnist_lightning.data.datasets NAME` prints them; None computes
            them when the images are read.
    """

    title: str
    class_names: tuple[str, ...]
    read: Callable[[str], tuple[LabelledImages, LabelledImages]]
    statistics: PixelStatistics | None = None


# Folder, file, MD5 of its content (- if unknown: it is not published), and of the published .gz, as in torchvision.
_FILES = """
MNIST        train-images-idx3-ubyte        6bbc9ace898e44ae57da46a324031adb f68b3c2dcbeaaa9fbdd348bbdeb94873
MNIST        train-labels-idx1-ubyte        a25bea736e30d166cdddb491f175f624 d53e105ee54ea40749a09fcbcd1e9432
MNIST        t10k-images-idx3-ubyte         2646ac647ad5339dbf082846283269ea 9fb629c4189551a2d022fa330f9573f3
MNIST        t10k-labels-idx1-ubyte         27ae3e4e09519cfbb04c329615203637 ec29112dd5afa0611ce80d1b7f02629c
FashionMNIST train-images-idx3-ubyte        f4a8712d7a061bf5bd6d2ca38dc4d50a 8d4fb7e6c68d591d4c3dfef9ec88bf0d
FashionMNIST train-labels-idx1-ubyte        9018921c3c673c538a1fc5bad174d6f9 25c81989df183df01b3e8a0aad5dffbe
FashionMNIST t10k-images-idx3-ubyte         8181f5470baa50b63fa0f6fddb340f0a bef4ecab320f06d8554ea6380940ec79
FashionMNIST t10k-labels-idx1-ubyte         15d484375f8d13e6eb1aabb0c3f46965 bb300cfdad3c16e7a12a480ee83cd310
KMNIST       train-images-idx3-ubyte        -                                bdb82020997e1d708af4cf47b453dcf7
KMNIST       train-labels-idx1-ubyte        -                                e144d726b3acfaa3e44228e80efcd344
KMNIST       t10k-images-idx3-ubyte         -                                5c965bf0a639b31b8f53240b1b52f4d7
KMNIST       t10k-labels-idx1-ubyte         -                                7320c461ea6c1c855c0b718fb2a4b134
QMNIST       qmnist-train-images-idx3-ubyte -                                ed72d4157d28c017586c42bc6afe6370
QMNIST       qmnist-train-labels-idx2-int   -                                0058f8dd561b90ffdd0f734c6a30e5e4
QMNIST       qmnist-test-images-idx3-ubyte  -                                1394631089c404de565df7b7aeaf9412
QMNIST       qmnist-test-labels-idx2-int    -                                5b5b05890a5e13444e108efe57b788aa
"""


def _files(title: str, folder: str) -> IdxFiles:
    rows = [row.split() for row in _FILES.splitlines() if row.startswith(f"{folder} ")]
    return IdxFiles(title, folder, tuple(IdxFile(name, md5, gz_md5) for _, name, md5, gz_md5 in rows))


MNIST = _files("MNIST", "MNIST")
FASHION_MNIST = _files("Fashion-MNIST", "FashionMNIST")
KMNIST = _files("Kuzushiji-MNIST", "KMNIST")
QMNIST = replace(_files("QMNIST", "QMNIST"), end_of_test_images=10_000)  # those of MNIST's test images
QMNIST50K = replace(QMNIST, first_test_image=10_000, end_of_test_images=None)

DATA_SETS = {
    "mnist": DataSet("MNIST", DIGITS, MNIST.read, MNIST_PIXELS),
    "fashion_mnist": DataSet("Fashion-MNIST", CLOTHES, FASHION_MNIST.read, PixelStatistics(0.2860, 0.3530)),
    "kmnist": DataSet("Kuzushiji-MNIST", HIRAGANA, KMNIST.read),
    "qmnist": DataSet("QMNIST", DIGITS, QMNIST.read),
    "qmnist50k": DataSet("QMNIST with its 50,000 further test digits", DIGITS, QMNIST50K.read),
    "offline_digits": DataSet(
        "NOT MNIST (scikit-learn's offline digits)", DIGITS, read_offline_digits, PixelStatistics(0.1557, 0.2774)
    ),
}


def data_set(name: DatasetName | str, data_dir: str) -> DataSet:
    """The data set of this name.

    Raises:
        UserError: it is `folder`, and `data_dir` does not hold one folder for each class.
    """
    if name == "folder":
        title = "".join(letter for letter in Path(data_dir).resolve().name if letter.isprintable() and letter != "$")
        return DataSet(f"{title} (image folder)", find_classes(data_dir), read_image_folder)
    return DATA_SETS[name]


def noun_of(class_names: Sequence[str]) -> str:
    """What to call a class in an output: `digit` or `class`."""
    return "digit" if tuple(class_names) == DIGITS else "class"


def pixel_statistics(images: Tensor) -> PixelStatistics:
    """Mean and standard deviation of the pixels of images (N, 1, 28, 28) uint8, in [0, 1]."""
    counts = images.flatten().bincount(minlength=256).double()
    values = torch.arange(256, dtype=torch.double, device=images.device) / 255
    mean = float((counts * values).sum() / counts.sum())
    return PixelStatistics(mean, float((counts * (values - mean) ** 2).sum() / counts.sum()) ** 0.5)


def main() -> None:
    """Checks a data set's files, downloads missing or damaged ones, and prints the statistics of its images.

    Raises:
        SystemExit: status 2 if a file could not be downloaded.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "mnist"
    data_dir = sys.argv[2] if len(sys.argv) > 2 else default_data_dir()
    try:
        if name not in get_args(DatasetName):
            raise UserError(f"{name} is not a data set. Use one of {', '.join(get_args(DatasetName))}.")
        described = data_set(name, data_dir)
        train, test = described.read(data_dir)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    mean, std = pixel_statistics(train.images)
    print(
        f"{described.title}: {len(train.labels):,} training images, whose pixels have mean {mean:.4f} and standard "
        f"deviation {std:.4f}, and {len(test.labels):,} test images."
    )


if __name__ == "__main__":
    main()
