"""`python -m benchmarks.kaggle_files FOLDER`: writes MNIST in the form of Kaggle's train.csv and test.csv."""

import sys
from pathlib import Path

import numpy as np
import torch

from mnist_lightning.data.datasets import MNIST, default_data_dir

NUM_TRAIN = 42_000  # of 70,000, as at https://www.kaggle.com/competitions/digit-recognizer/data

if __name__ == "__main__":
    images, labels = (torch.cat(parts).numpy() for parts in zip(*MNIST.read(default_data_dir()), strict=True))
    rows = np.column_stack([labels, images.reshape(len(images), -1)])  # (70000, 785)
    names = ["label", *(f"pixel{place}" for place in range(784))]
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    for name, part, first in (("train", rows[:NUM_TRAIN], 0), ("test", rows[NUM_TRAIN:, 1:], 1)):
        path = Path(sys.argv[1], f"{name}.csv")
        np.savetxt(path, part, "%d", ",", header=",".join(names[first:]), comments="")
