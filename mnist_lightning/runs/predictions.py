"""Predictions as table rows, and the most confident mistakes."""

from collections.abc import Iterable

import torch
from torch import Tensor

from mnist_lightning.classifier import Predictions
from mnist_lightning.runs.outputs import Row


def prediction_rows(batches: Iterable[Predictions], dataset: str) -> list[Row]:
    """One row per image, in order, with `dataset`, `index`, `digit` and `probability`.

    Args:
        batches: predictions, each field of shape (B,).
        dataset: name of the images.
    """
    rows: list[Row] = []
    for batch in batches:
        for digit, probability in zip(batch.digits.tolist(), batch.probabilities.tolist(), strict=True):
            rows.append({"dataset": dataset, "index": len(rows), "digit": digit, "probability": probability})
    return rows


def worst_mistakes(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Indices (M,) int64 of the misclassified images, the most confident prediction first.

    Args:
        labels: (N,) int64 in 0..9.
        probabilities: (N, 10) float.
    """
    confidences, digits = probabilities.max(dim=1)
    wrong = (digits != labels).nonzero().flatten()
    order: Tensor = torch.argsort(confidences[wrong], descending=True, stable=True)
    return wrong[order]
