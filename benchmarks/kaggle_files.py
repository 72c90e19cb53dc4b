"""`python -m benchmarks.kaggle_files FOLDER`: writes MNIST in the form of Kaggle's train.csv and test.csv."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mnist_lightning.data.datasets import MNIST, default_data_dir

NUM_TRAIN = 42_000  # of 70,000, as at https://www.kaggle.com/competitions/digit-recognizer/data


def write_csv_files(folder: Path, images: NDArray[np.uint8], labels: NDArray[Any], num_train: int) -> None:
    """Writes the first images (N, 1, 28, 28) with their labels (N,) into train.csv, the others alone into test.csv."""
    pixels = images.reshape(len(images), -1)  # (N, 784)
    names = ",".join(f"pixel{place}" for place in range(pixels.shape[1]))
    folder.mkdir(parents=True, exist_ok=True)
    train = np.column_stack([labels[:num_train], pixels[:num_train]])
    np.savetxt(folder / "train.csv", train, "%d", ",", header=f"label,{names}", comments="")
    np.savetxt(folder / "test.csv", pixels[num_train:], "%d", ",", header=names, comments="")


if __name__ == "__main__":
    images, labels = (torch.cat(parts).numpy() for parts in zip(*MNIST.read(default_data_dir()), strict=True))
    write_csv_files(Path(sys.argv[1]), images, labels, NUM_TRAIN)
