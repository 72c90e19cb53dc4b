"""The original's six requirements, and whether a run meets them."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from mnist_lightning.network import count_normed_convolutions, leaf_modules, num_trainable_parameters

MIN_TEST_ACCURACY = 0.994
MAX_PARAMETERS = 20_000
MAX_EPOCHS = 20


@dataclass(frozen=True)
class Requirement:
    """One requirement.

    Args:
        name: What is required.
        value: What the run has, in words.
        is_met: Whether that meets the requirement; null if the run cannot tell.
    """

    name: str
    value: str
    is_met: bool | None


def check_requirements(
    net: nn.Module, num_epochs: float, last_accuracy: float | None, measured_on: str
) -> list[Requirement]:
    """Compares a run with the original's six requirements.

    Args:
        net: the network; its modules are inspected.
        num_epochs: number of epochs; a part of one counts as a fraction.
        last_accuracy: accuracy after the last epoch, in [0, 1]; None if nothing was evaluated.
        measured_on: the images of `last_accuracy`; only MNIST's test images can meet the requirement.
    """
    parameters = num_trainable_parameters(net)
    accuracy = "not measured" if last_accuracy is None else f"{last_accuracy:.2%} ({measured_on})"
    reached = None
    if last_accuracy is not None and measured_on == "MNIST test images":
        reached = is_accurate(last_accuracy)
    return [
        Requirement("test accuracy ≥ 99.4 % at the last epoch", accuracy, reached),
        Requirement("fewer than 20,000 parameters", f"{parameters:,}", parameters < MAX_PARAMETERS),
        Requirement("fewer than 20 epochs", f"{num_epochs:g}", num_epochs < MAX_EPOCHS),
        Requirement("batch norm after every convolution", *_batch_norm(net)),
        Requirement("dropout", *_dropout(net)),
        Requirement("global average pooling, no fully connected layer", *_global_average_pooling(net)),
    ]


def is_accurate(accuracy: float) -> bool:
    """Whether an accuracy in [0, 1] is at least 99.4 %. Rounds, because 9,940 of 10,000 in float32 is below 0.994."""
    return round(accuracy, 6) >= MIN_TEST_ACCURACY


def first_accurate_epoch(accuracies: Iterable[float | None]) -> int | None:
    """The first epoch, counted from 1, whose validation accuracy is at least 99.4 %; None if none is."""
    return next((epoch for epoch, accuracy in enumerate(accuracies, start=1) if is_accurate(accuracy or 0)), None)


def _batch_norm(net: nn.Module) -> tuple[str, bool]:
    num_followed, num_convolutions = count_normed_convolutions(net)
    return f"{num_followed} of {num_convolutions} convolutions", num_followed == num_convolutions > 0


def _dropout(net: nn.Module) -> tuple[str, bool]:
    rates = [module.p for module in leaf_modules(net) if isinstance(module, nn.Dropout) and module.p > 0]
    return ", ".join(f"{rate:g}" for rate in rates) or "none", bool(rates)


def _global_average_pooling(net: nn.Module) -> tuple[str, bool]:
    leaves = leaf_modules(net)
    is_there = any(isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)) for module in leaves)
    num_linear = sum(isinstance(module, nn.Linear) for module in leaves)
    value = f"{'there' if is_there else 'not there'}, {num_linear} fully connected layers"
    return value, is_there and num_linear == 0
