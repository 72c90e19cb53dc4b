"""Which activations the fused layers' dropout keeps."""

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.fast import kernels


def kept(shape: torch.Size, probability: float) -> Tensor:
    """Whether each activation of a tensor (B, H, W, C) is kept; draws one seed, as a step does."""
    mask = torch.ones(shape, dtype=torch.bool)
    if probability == 0:
        return mask
    state = torch.get_rng_state()
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.set_rng_state(state)
        x = torch.zeros(shape)
        x[:, down::2, right::2] = 1  # the maximum of its window, unless it is dropped
        y = x.new_empty(shape[0], shape[1] // 2, shape[2] // 2, shape[3])
        z, choice = torch.empty_like(y), torch.empty_like(y, dtype=torch.uint8)
        vectors = np.ones((3, shape[3]))
        kernels.launch(kernels.POOL, x, 2, probability, y=y, z=z, choice=choice, vectors=vectors)
        mask[:, down::2, right::2] = z == 1
    return mask
