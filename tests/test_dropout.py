"""The positions that dropout draws in the fused layers."""

import pytest
import torch

from mnist_lightning.fast.fused_layers import draw_dropped


@pytest.mark.parametrize("probability", [0.001, 0.05, 0.5, 0.95])
def test_activations_are_dropped_independently_with_the_probability(probability: float) -> None:
    torch.manual_seed(0)
    num = 1_000_000
    dropped = torch.zeros(num).index_fill_(0, draw_dropped(num, probability), 1)
    std = (probability * (1 - probability)) ** 0.5
    assert dropped.mean().item() == pytest.approx(probability, abs=5 * std / num**0.5)
    for distance in (1, 2, 3, 18):  # neighbours, including those of a 2×2 window
        both = (dropped[:-distance] * dropped[distance:]).mean().item()
        spread = probability * (1 - probability**2) ** 0.5 / num**0.5
        assert both == pytest.approx(probability**2, abs=8 * spread)


def test_the_first_and_last_activations_are_dropped_as_often_as_others() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(7)
    for _ in range(20_000):
        counts[draw_dropped(7, 0.3)] += 1
    assert counts / 20_000 == pytest.approx(torch.full((7,), 0.3), abs=0.02)


def test_the_global_seed_determines_the_draws() -> None:
    torch.manual_seed(1)
    first = draw_dropped(10_000, 0.05)
    other = draw_dropped(10_000, 0.05)
    torch.manual_seed(1)
    assert torch.equal(first, draw_dropped(10_000, 0.05))
    assert not torch.equal(first, other)
