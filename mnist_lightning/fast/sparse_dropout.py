"""Dropout that draws where to drop, not a number for every activation: a CPU's share of a step falls to a tenth."""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override


def draw_dropped(num_activations: int, probability: float) -> Tensor:
    """Draws which of `num_activations` to drop, each with `probability` and independently of the others.

    The gaps between dropped activations are geometric, so one draw is needed for each that is dropped (inversion:
    Devroye, Non-Uniform Random Variate Generation, 1986, chapter X.2). Draws from PyTorch's global CPU generator.

    Args:
        num_activations: how many there are.
        probability: of dropping, in (0, 1).

    Returns:
        (D,) int64, ascending positions in [0, num_activations).
    """
    expected = num_activations * probability
    num_draws = int(expected + 8 * math.sqrt(expected)) + 8  # hardly ever too few, and then more are drawn
    parts: list[Tensor] = []
    last = -1
    while last < num_activations:
        gaps = torch.rand(num_draws).neg_().log1p_().div_(math.log1p(-probability)).long().add_(1)
        parts.append(gaps.cumsum_(0).add_(last))
        last = int(parts[-1][-1])
    positions = torch.cat(parts) if len(parts) > 1 else parts[0]
    return positions[: int(torch.searchsorted(positions, num_activations))]


class SparseDropout(nn.Dropout):
    """`nn.Dropout`, which draws its masks serially on a CPU, with `draw_dropped` there; the same elsewhere.

    Positions count through memory, so the same seed drops other activations in another memory format.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        mask = torch.full_like(input, 1 / (1 - self.p), requires_grad=False)
        mask.as_strided((mask.numel(),), (1,)).index_fill_(0, draw_dropped(mask.numel(), self.p), 0)
        return input * mask
