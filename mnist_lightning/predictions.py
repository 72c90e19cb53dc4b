"""Predictions as a table: one line per image, with the digit and its probability."""

import csv
from collections.abc import Iterable
from typing import TextIO

from mnist_lightning.classifier import Predictions


def write_predictions(batches: Iterable[Predictions], dataset: str, file: TextIO) -> None:
    """Writes CSV lines `dataset,index,digit,probability`, in the images' order.

    Args:
        batches: predictions, each field of shape (B,).
        dataset: what the images are.
        file: where to write.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["dataset", "index", "digit", "probability"])
    index = 0
    for batch in batches:
        for digit, probability in zip(batch.digits.tolist(), batch.probabilities.tolist(), strict=True):
            writer.writerow([dataset, index, digit, f"{probability:.6f}"])
            index += 1
