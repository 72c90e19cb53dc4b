"""The fused layers compute the same as PyTorch's layers."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.fast.fused_layers import fused_forward
from mnist_lightning.network import CHANNELS, BaselineNet, OptimizedNet
from support.dropped import kept


class SameDropout(nn.Dropout):
    """Drops the activations that the fused layers drop."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        return input * kept(input.permute(0, 2, 3, 1).shape, self.p).permute(0, 3, 1, 2) / (1 - self.p)


def network(
    dropout: float = 0.05, channels: tuple[tuple[int, ...], ...] = CHANNELS, dtype: torch.dtype = torch.float64
) -> nn.Sequential:
    """The optimized network with batch norm scales of both signs, as after training."""
    torch.manual_seed(0)
    net = OptimizedNet(dropout, channels)
    for place, layer in enumerate(net.layers):
        if isinstance(layer, nn.Dropout):
            net.layers[place] = SameDropout(dropout)
    for layer in net.layers:
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            for values in (layer.weight, layer.bias, layer.running_mean):
                nn.init.uniform_(values, -1, 1)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    net.to(dtype).to(memory_format=torch.channels_last)
    return net.layers


def images(num: int = 32, dtype: torch.dtype = torch.float64, size: int = 28) -> Tensor:
    return torch.rand(num, 1, size, size, dtype=dtype).to(memory_format=torch.channels_last)


def train_once(layers: nn.Sequential, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> list[Tensor]:
    """Output, loss, gradients and statistics of one training step."""
    torch.manual_seed(1)
    outputs = forward(inputs)
    loss = F.cross_entropy(outputs.to(inputs.dtype), torch.arange(len(inputs)) % 10)
    loss.backward()
    gradients = [parameter.grad for parameter in layers.parameters() if parameter.grad is not None]
    assert len(gradients) == len(list(layers.parameters()))
    return [outputs.detach(), loss.detach(), *gradients, *layers.buffers()]


def both(layers: nn.Sequential, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    other = copy.deepcopy(layers)
    plain = train_once(layers, layers, inputs)
    fused = train_once(other, lambda inputs: fused_forward(other, inputs), inputs)
    return list(zip(fused, plain, strict=True))


@pytest.mark.parametrize("dropout", [0, 0.05, 0.7])  # 0.7 drops whole windows
@pytest.mark.parametrize("channels", [CHANNELS, ((3, 5, 7), (8, 4), (1,))])
def test_a_training_step_is_the_same(dropout: float, channels: tuple[tuple[int, ...], ...]) -> None:
    for fused, plain in both(network(dropout, channels), images()):
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-12)


def test_a_training_step_on_real_digits_is_the_same(mnist: tuple[LabelledImages, LabelledImages]) -> None:
    """The background has equal neighbours; max pooling must choose the same one as PyTorch."""
    digits = ((mnist[0].images[:64].double() / 255 - 0.1307) / 0.3081).to(memory_format=torch.channels_last)
    for fused, plain in both(network(), digits):
        torch.testing.assert_close(fused, plain, rtol=1e-9, atol=1e-12)


def rounding_errors(part: slice, is_bfloat16: bool) -> Tensor:
    """For each value of a step (V, 3): the fused layers' error, PyTorch's error, and the norm of the exact value.

    Exact values are in float64 with the same dropout; uses `part` of the 512 images.
    """
    layers, exact_layers = network(dtype=torch.float32), network()
    inputs = images(512, torch.float32)[part]
    with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16):
        pairs = both(layers, inputs)
    exact = train_once(exact_layers, exact_layers, inputs.double())
    assert is_bfloat16 or all(fused.dtype == plain.dtype for fused, plain in pairs)
    return torch.tensor(
        [
            [(fused.double() - truth).norm(), (plain.double() - truth).norm(), truth.double().norm()]
            for (fused, plain), truth in zip(pairs, exact, strict=True)
        ]
    )


def test_rounding_is_no_worse_than_in_the_layers() -> None:
    fused, plain, size = rounding_errors(slice(256), is_bfloat16=False).unbind(dim=1)
    assert (fused <= plain + 1e-7 * size).all()


@pytest.mark.slow
def test_rounding_to_bfloat16_is_no_worse_than_in_the_layers() -> None:
    # Root mean squares over eight draws, because the error of a single value, such as the loss, is random.
    draws = [rounding_errors(slice(start, start + 64), is_bfloat16=True) for start in range(0, 512, 64)]
    fused, plain, size = torch.stack(draws).square().mean(dim=0).sqrt().unbind(dim=1)
    assert (fused <= 1.2 * plain + 1e-5 * size).all()


def test_evaluation_is_the_same() -> None:
    layers = network().eval()
    inputs = images()
    with torch.no_grad():
        torch.testing.assert_close(fused_forward(layers, inputs), layers(inputs))


@pytest.mark.slow
def test_gradients_pass_numerical_differentiation() -> None:
    layers = network(dropout=0.3)[3:8]  # convolution, batch norm, ReLU, dropout, pooling
    inputs = torch.rand(3, 10, 4, 4, dtype=torch.float64).requires_grad_()

    def forward(inputs: Tensor, *parameters: Tensor) -> Tensor:
        torch.manual_seed(2)
        return fused_forward(layers, inputs)

    assert torch.autograd.gradcheck(forward, (inputs, *layers.parameters()))


@pytest.mark.parametrize(
    "layers",
    [
        BaselineNet().layers[:9],  # biases and no batch norm
        network()[3:7],  # dropout without pooling after it
        nn.Sequential(*network()[3:6], nn.MaxPool2d(3)),
        nn.Sequential(nn.Conv2d(10, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU()).double(),
        nn.Sequential(nn.Conv2d(10, 4, 5, padding=2, bias=False), nn.BatchNorm2d(4), nn.ReLU()).double(),
    ],
)
def test_other_layers_run_unchanged(layers: nn.Sequential) -> None:
    layers = copy.deepcopy(layers).double().to(memory_format=torch.channels_last)
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    inputs = torch.rand(4, first.in_channels, 12, 12, dtype=torch.float64).to(memory_format=torch.channels_last)
    torch.manual_seed(1)
    plain = copy.deepcopy(layers)(inputs)
    torch.manual_seed(1)
    torch.testing.assert_close(fused_forward(layers, inputs), plain)


def test_frozen_statistics_stay_frozen() -> None:
    layers = network(dropout=0)
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    before = [buffer.clone() for buffer in layers.buffers()]
    inputs = images()
    torch.testing.assert_close(fused_forward(layers, inputs), layers(inputs))
    assert all(torch.equal(a, b) for a, b in zip(before, layers.buffers(), strict=True))


def test_odd_sides_are_pooled_as_in_the_layers() -> None:
    layers = network(dropout=0)
    inputs = images(size=30)  # 30, 15, 7
    other = copy.deepcopy(layers)
    torch.testing.assert_close(fused_forward(layers, inputs), other(inputs))
