"""Dropout that draws the dropped positions instead of one number per activation, which is faster on a CPU.

results/benchmark/README.md has the effect on a step.
"""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override


def draw_dropped(num_activations: int, probability: float) -> Tensor:
    """Draws the positions (D,) int64, ascending, of the dropped activations, from PyTorch's global CPU generator.

    Each activation is dropped independently with a probability in (0, 1). The gaps between dropped positions have a
    geometric distribution, so each dropped activation needs one draw (inversion: Devroye, Non-Uniform Random Variate
    Generation, 1986, chapter X.2).
    """
    expected = num_activations * probability
    num_draws = int(expected + 8 * math.sqrt(expected)) + 8  # rarely too few; the loop then draws more
    parts: list[Tensor] = []
    last = -1
    while last < num_activations:
        gaps = torch.rand(num_draws).neg_().log1p_().div_(math.log1p(-probability)).long().add_(1)
        parts.append(gaps.cumsum_(0).add_(last))
        last = int(parts[-1][-1])
    positions = torch.cat(parts) if len(parts) > 1 else parts[0]
    return positions[: int(torch.searchsorted(positions, num_activations))]


class SparseDropout(nn.Dropout):
    """`nn.Dropout` with `draw_dropped` on a CPU; the same as `nn.Dropout` on other devices.

    Positions follow the memory order, so the same seed drops different activations in another memory format.
    """

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        mask = torch.full_like(input, 1 / (1 - self.p), requires_grad=False)
        mask.as_strided((mask.numel(),), (1,)).index_fill_(0, draw_dropped(mask.numel(), self.p), 0)
        return input * mask
