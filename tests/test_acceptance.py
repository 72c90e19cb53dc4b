"""The original's requirements, checked on a network's modules and a run's figures."""

import pytest
from torch import nn

from mnist_lightning.network import BaselineNet, OptimizedNet
from mnist_lightning.runs.acceptance import check_requirements, first_accurate_epoch


def verdicts(net: nn.Module, num_epochs: int = 15, accuracy: float | None = 0.995) -> list[object]:
    return [requirement.is_met for requirement in check_requirements(net, num_epochs, accuracy, True)]


def test_the_optimized_network_meets_all() -> None:
    assert verdicts(OptimizedNet()) == [True] * 6


def test_the_baseline_meets_what_it_can() -> None:
    assert verdicts(BaselineNet(), num_epochs=1, accuracy=0.97) == [False, False, True, False, False, False]


@pytest.mark.parametrize(
    ("accuracy", "is_mnists_test", "is_met"),
    [
        (0.994, True, True),
        (0.9940000176429749, True, True),  # 9,940 / 10,000 in float32
        (0.9939, True, False),
        (None, True, None),
        (0.999, False, None),
    ],
)
def test_accuracy(accuracy: float | None, is_mnists_test: bool, is_met: bool | None) -> None:
    assert check_requirements(OptimizedNet(), 15, accuracy, is_mnists_test)[0].is_met == is_met


def test_epochs() -> None:
    assert verdicts(OptimizedNet(), num_epochs=19)[2] is True
    assert verdicts(OptimizedNet(), num_epochs=20)[2] is False


def test_batch_norm_has_to_follow_every_convolution() -> None:
    net = OptimizedNet()
    net.layers[4] = nn.Identity()
    requirement = check_requirements(net, 1, None, True)[3]
    assert (requirement.value, requirement.is_met) == ("5 of 6 convolutions", False)


def test_zero_dropout_does_not_count() -> None:
    assert verdicts(OptimizedNet(dropout=0))[4] is False


def test_the_first_accurate_epoch_counts_images() -> None:
    """9,940 of 10,000 in float32 is a little below the float64 0.994."""
    accuracies = [0.9939, None, 0.9939999580383301]
    assert first_accurate_epoch(accuracies) == 3
    assert first_accurate_epoch(accuracies[:2]) is None
