"""Predictions as table rows, and the most confident mistakes."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mnist_lightning.classifier import Predictions
from mnist_lightning.data.datasets import noun_of
from mnist_lightning.files import Row

# Below this probability, a drawing or photograph could be another digit, or none. Chosen for models/mnist.ckpt on the
# development set of evidence/own_digits: 0.6 % of the confident answers are wrong, 1.9 % of clean digits are "not
# sure", and 63 % of letters. The largest logit, the margin and the energy tell them apart no better.
SURE_PROBABILITY = 0.8


def prediction_rows(batches: Iterable[Predictions], dataset: str, class_names: Sequence[str]) -> list[Row]:
    """One row per image, in order, with `dataset`, `index`, `digit` or the name of its `class`, and `probability`.

    Args:
        batches: predictions, each field of shape (B,).
        dataset: name of the images.
        class_names: names of the classes.
    """
    noun = noun_of(class_names)
    rows: list[Row] = []
    for batch in batches:
        for label, probability in zip(batch.classes.tolist(), batch.probabilities.tolist(), strict=True):
            predicted = label if noun == "digit" else class_names[label]
            rows.append({"dataset": dataset, "index": len(rows), noun: predicted, "probability": probability})
    return rows


def worst_mistakes(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Indices (M,) int64 of the misclassified images, the most confident prediction first.

    Args:
        labels: (N,) int64.
        probabilities: (N, num_classes) float.
    """
    confidences, classes = probabilities.max(dim=1)
    wrong = (classes != labels).nonzero().flatten()
    order: Tensor = torch.argsort(confidences[wrong], descending=True, stable=True)
    return wrong[order]
