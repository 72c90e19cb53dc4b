"""The two networks and their layer tables."""

import pytest
import torch

from mnist_lightning.main import main
from mnist_lightning.network import BaselineNet, OptimizedNet, num_trainable_parameters
from mnist_lightning.runs.layer_table import layer_table

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


def test_channels_in_blocks_and_as_in_earlier_checkpoints() -> None:
    deep = OptimizedNet(channels=[[3, 4], [5, 6, 6], [6, 8]])
    assert num_trainable_parameters(deep) == 2_481
    assert [row.output_shape for row in layer_table(deep)][1:3] == [(4, 28, 28), (4, 14, 14)]
    assert str(OptimizedNet(channels=[10, 18, 18, 28, 28])) == str(OptimizedNet())


@pytest.mark.parametrize("channels", ["[[10,18],5]", "[10,18]", "[[10,0]]", "[]"])
def test_other_channels_are_refused(channels: str, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--config", "configs/offline.yaml", "--model.channels", channels])
    assert capfd.readouterr().err.startswith("error: ")


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


@pytest.mark.parametrize("net", [OptimizedNet(num_classes=3), BaselineNet(num_classes=3)])
def test_another_number_of_classes(net: torch.nn.Module) -> None:
    assert net.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
