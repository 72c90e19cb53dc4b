"""Predictions as a table: one line per image, with the digit and its probability."""

import csv
from collections.abc import Iterable
from typing import TextIO

from mnist_lightning.classifier import Predictions


def write_predictions(batches: Iterable[Predictions], file: TextIO) -> None:
    """Writes CSV lines `index,digit,probability`, in the images' order.

    Args:
        batches: predictions, each field of shape (B,).
        file: where to write.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["index", "digit", "probability"])
    index = 0
    for batch in batches:
        for digit, probability in zip(batch.digits.tolist(), batch.probabilities.tolist(), strict=True):
            writer.writerow([index, digit, f"{probability:.6f}"])
            index += 1
