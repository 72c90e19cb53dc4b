"""Splits a labelled set in two so that every class keeps its share."""

import torch
from torch import Tensor


def stratified_split(labels: Tensor, num_held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Holds out images of every class in proportion, to within one image, chosen by `seed` alone.

    Args:
        labels: (N,) integer classes.
        num_held_out: how many to hold out, below N.
        seed: decides which.

    Returns:
        Indices of the images that stay and of those held out, each sorted, int64.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]  # class after class, shuffled within
    # Evenly spaced positions take from each class its share of the total.
    positions = (torch.arange(num_held_out) * len(labels)) // max(num_held_out, 1)
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[by_class[positions]] = True
    indices = torch.arange(len(labels))
    return indices[~is_held_out], indices[is_held_out]
