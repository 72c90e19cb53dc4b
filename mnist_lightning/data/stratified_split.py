"""A stratified split of a labelled data set."""

import torch
from torch import Tensor


def stratified_split(labels: Tensor, num_held_out: int, seed: int) -> tuple[Tensor, Tensor]:
    """Holds out the same share of every class, to within one image.

    Args:
        labels: (N,) integer classes.
        num_held_out: number of images to hold out, below N.
        seed: determines the split.

    Returns:
        Sorted int64 indices of the remaining images, and of the held-out images.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]  # class after class, shuffled within
    # Evenly spaced positions take the same share from each class.
    positions = (torch.arange(num_held_out) * len(labels)) // max(num_held_out, 1)
    is_held_out = torch.zeros(len(labels), dtype=torch.bool)
    is_held_out[by_class[positions]] = True
    indices = torch.arange(len(labels))
    return indices[~is_held_out], indices[is_held_out]
