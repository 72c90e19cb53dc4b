"""Predictions as rows: one per image, with the digit and its probability."""

from collections.abc import Iterable

from mnist_lightning.classifier import Predictions
from mnist_lightning.output_files import Row


def prediction_rows(batches: Iterable[Predictions], dataset: str) -> list[Row]:
    """Rows of `dataset`, `index`, `digit` and `probability`, in the images' order.

    Args:
        batches: predictions, each field of shape (B,).
        dataset: what the images are.
    """
    rows: list[Row] = []
    for batch in batches:
        for digit, probability in zip(batch.digits.tolist(), batch.probabilities.tolist(), strict=True):
            rows.append({"dataset": dataset, "index": len(rows), "digit": digit, "probability": probability})
    return rows
