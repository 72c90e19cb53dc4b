"""`python -m benchmarks.kaggle_files FOLDER`: writes MNIST in the form of Kaggle's train.csv and test.csv."""

import sys
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.data.datasets import MNIST, default_data_dir

NUM_TRAIN = 42_000  # of 70,000, as at https://www.kaggle.com/competitions/digit-recognizer/data


def write_files(folder: Path) -> None:
    """Writes the first training images with their labels into train.csv; the others and the test images: test.csv."""
    sets = MNIST.read(default_data_dir())
    images, labels = (torch.cat(parts).numpy() for parts in zip(*sets, strict=True))
    pixels = images.reshape(len(images), -1)  # (70000, 784)
    names = ",".join(f"pixel{place}" for place in range(pixels.shape[1]))
    folder.mkdir(parents=True, exist_ok=True)
    train = np.column_stack([labels[:NUM_TRAIN], pixels[:NUM_TRAIN]])
    np.savetxt(folder / "train.csv", train, "%d", ",", header=f"label,{names}", comments="")
    np.savetxt(folder / "test.csv", pixels[NUM_TRAIN:], "%d", ",", header=names, comments="")


if __name__ == "__main__":
    write_files(Path(sys.argv[1]))
