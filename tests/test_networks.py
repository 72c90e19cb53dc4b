"""The two networks and their layer tables."""

import pytest
import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm

from mnist_lightning.network import BaselineNet, OptimizedNet, count_normed_convolutions, num_trainable_parameters
from mnist_lightning.runs.layer_table import format_layer_table, layer_table

# (output shape, receptive field, parameters) of each row, as the original documents them.
OPTIMIZED_ROWS = [
    ((10, 28, 28), 3, [90, 20]),
    ((18, 28, 28), 5, [1620, 36]),
    ((18, 14, 14), 6, []),
    ((18, 14, 14), 10, [2916, 36]),
    ((28, 14, 14), 14, [4536, 56]),
    ((28, 7, 7), 16, []),
    ((28, 7, 7), 24, [7056, 56]),
    ((10, 7, 7), 32, [2520, 20]),
    ((10,), None, []),
]


@pytest.mark.parametrize(
    ("net", "num_parameters"), [(OptimizedNet(), 18_962), (BaselineNet(), 6_379_786), (BaselineNet(True), 6_379_786)]
)
def test_parameters_and_output_shape(net: torch.nn.Module, num_parameters: int) -> None:
    assert num_trainable_parameters(net) == num_parameters
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_layer_table_of_the_optimized_network() -> None:
    rows = layer_table(OptimizedNet())
    assert [(row.output_shape, row.receptive_field_pixels, row.num_parameters) for row in rows] == OPTIMIZED_ROWS
    assert rows[1].layers == ["Conv 3×3, 10→18", "BN", "ReLU"]
    assert rows[2].layers == ["Dropout 0.05", "MaxPool 2×2"]


def test_the_receptive_field_matches_the_gradient() -> None:
    layers = OptimizedNet().layers[:13].eval()  # to the fourth activation: a receptive field of 14 fits into the image
    for module in layers:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.ones_(module.weight)  # without negative weights, no ReLU blocks the gradient
    layers[7] = torch.nn.AvgPool2d(2)  # max pooling would pass the gradient to one input only
    image = torch.ones(1, 1, 28, 28, requires_grad=True)
    layers(image)[0, 0, 7, 7].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].nonzero()
    sides = touched.max(dim=0).values - touched.min(dim=0).values + 1
    assert sides.tolist() == [14, 14]


def test_formatted_table_ends_with_the_sum() -> None:
    assert format_layer_table(layer_table(BaselineNet())).splitlines()[-1].split() == [
        *("trainable", "parameters", "6,379,786")
    ]


def test_dropout_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\), got 1"):
        OptimizedNet(dropout=1)


def test_synchronised_batch_norm_is_batch_norm() -> None:
    """With --trainer.sync_batchnorm, the Trainer replaces the layers, and once more after training."""
    net: torch.nn.Module = OptimizedNet()
    for _ in range(2):
        assert count_normed_convolutions(net) == (6, 6)
        net = torch.nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert count_normed_convolutions(TorchSyncBatchNorm().revert(net)) == (6, 6)


def test_the_layer_table_does_not_change_the_network() -> None:
    net = OptimizedNet().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    layer_table(net)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
