"""The original's six requirements, and whether a run meets them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from torch import nn

from mnist_lightning.network import ExecutedLayer, count_normed_convolutions, executed_layers, num_trainable_parameters

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
    net: nn.Module, num_epochs: float, last_accuracy: float | None, is_mnists_test: bool
) -> list[Requirement]:
    """Compares a run with the original's six requirements: the first needs an accuracy on all MNIST test images."""
    parameters, layers = num_trainable_parameters(net), executed_layers(net)
    num_normed, num_convs = count_normed_convolutions(layers)
    is_normed = num_normed == num_convs > 0
    dropouts = nn.modules.dropout._DropoutNd  # the base class of all kinds
    rates = [layer.module.p for layer in layers if isinstance(layer.module, dropouts) and layer.module.p > 0]
    accuracy, reached = "not measured", None
    if last_accuracy is not None:
        accuracy = f"{last_accuracy:.2%}{'' if is_mnists_test else ' on other images'}"
        reached = is_accurate(last_accuracy) if is_mnists_test else None
    return [
        Requirement("MNIST test accuracy ≥ 99.4 %", accuracy, reached),
        Requirement("fewer than 20,000 parameters", f"{parameters:,}", parameters < MAX_PARAMETERS),
        Requirement("fewer than 20 epochs", f"{num_epochs:g}", num_epochs < MAX_EPOCHS),
        Requirement("batch norm after every convolution", f"{num_normed} of {num_convs} convolutions", is_normed),
        Requirement("dropout", ", ".join(f"{rate:g}" for rate in rates) or "none", bool(rates)),
        Requirement("global average pooling, no linear layer", *_global_average_pooling(net, layers)),
    ]


def is_accurate(accuracy: float) -> bool:
    """Whether an accuracy in [0, 1] is at least 99.4 %. Rounds, because 9,940 of 10,000 in float32 is below 0.994."""
    return round(accuracy, 6) >= MIN_TEST_ACCURACY


def first_accurate_epoch(accuracies: Iterable[float | None]) -> int | None:
    """The first epoch, counted from 1, whose validation accuracy is at least 99.4 %; None if none is."""
    return next((epoch for epoch, accuracy in enumerate(accuracies, start=1) if is_accurate(accuracy or 0)), None)


def _global_average_pooling(net: nn.Module, layers: Sequence[ExecutedLayer]) -> tuple[str, bool]:
    """Judges a layer by what it does: average pooling from a whole map to one value; each value from all others."""
    kinds = (nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd)
    is_present = any(
        isinstance(layer.module, kinds) and prod(layer.output.shape[2:]) == 1 < prod(layer.input.shape[2:])
        for layer in layers
    )
    num_linear = sum(isinstance(module, nn.MultiheadAttention) for module in net.modules())  # calls no Linear
    for module, inputs, _ in layers:
        is_convolution_of_one_value = isinstance(module, nn.modules.conv._ConvNd) and prod(inputs.shape[2:]) == 1
        num_linear += isinstance(module, nn.Linear | nn.Bilinear | nn.RNNBase) or is_convolution_of_one_value
    linear = f", {num_linear} linear layer{'s' if num_linear > 1 else ''}" if num_linear else ""
    return f"{'present' if is_present else 'absent'}{linear}", is_present and num_linear == 0
