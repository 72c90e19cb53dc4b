"""The two networks, without Lightning: the optimized one with 18,962 parameters and the baseline with 6,379,786.

`build_network` also builds a user's network, named by its class path.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.errors import UserError

Head = Literal["average_pooling", "fully_connected"]

IMAGE_SHAPE = (1, 28, 28)
CHANNELS = ((10, 18), (18, 28), (28,))  # of the original's first five convolutions


def _conv_relu(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm subtracts the mean, so a bias before it would have no effect.
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()] if batch_norm else [conv, nn.ReLU()]


class LayeredNet(nn.Module):
    """A network that computes `layers` and nothing else; on a CPU, fast/fused_layers.py computes them together.

    Maps normalised images (B, 1, 28, 28) to logits (B, num_classes).
    """

    layers: nn.Sequential

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class OptimizedNet(LayeredNet):
    """3×3 convolutions with batch norm, light dropout and global average pooling; by default 18,962 parameters.

    Args:
        dropout: Probability of zeroing an activation before each max pooling.
        channels: Output channels of the convolutions, in blocks with a max pooling between them; the last block also
            gets one with `num_classes`. Checkpoints of earlier versions hold five numbers: two, two and one per block.
        batch_norm: Add batch norm after each convolution; without it, the convolutions have a bias.
        head: Layer after the last convolution: global average pooling or a fully connected layer.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        dropout: float = 0.05,
        channels: Sequence[Any] = CHANNELS,
        batch_norm: bool = True,
        head: Head = "average_pooling",
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        if isinstance(channels[0], int):
            one, two, three, four, five = channels
            channels = ((one, two), (three, four), (five,))
        blocks = [*channels[:-1], (*channels[-1], num_classes)]
        layers: list[nn.Module] = []
        in_channels, side = 1, IMAGE_SHAPE[1]
        for place, block in enumerate(blocks):
            if place > 0:
                layers += [nn.Dropout(dropout), nn.MaxPool2d(2)]
                side //= 2
            for out_channels in block:  # (B, out_channels, side, side)
                layers += _conv_relu(in_channels, out_channels, batch_norm)
                in_channels = out_channels
        layers += [nn.AdaptiveAvgPool2d(1)] if head == "average_pooling" else []
        layers.append(nn.Flatten())
        layers += [nn.Linear(num_classes * side**2, num_classes)] if head == "fully_connected" else []
        self.layers = nn.Sequential(*layers)


class BaselineNet(LayeredNet):
    """Seven 3×3 convolutions with bias, without batch norm or dropout: 6,379,786 parameters.

    Args:
        relu_on_logits: Apply a ReLU to the logits, a common mistake: it sets every negative logit to 0.
        num_classes: Number of classes.
    """

    def __init__(self, relu_on_logits: bool = False, num_classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 64, 14, 14)
            nn.Conv2d(64, 128, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(128, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 256, 7, 7)
            nn.Conv2d(256, 512, kernel_size=3),  # (B, 512, 5, 5)
            nn.ReLU(),
            nn.Conv2d(512, 1024, kernel_size=3),  # (B, 1024, 3, 3)
            nn.ReLU(),
            nn.Conv2d(1024, num_classes, kernel_size=3),  # (B, num_classes, 1, 1)
            *([nn.ReLU()] if relu_on_logits else []),
            nn.Flatten(),  # (B, num_classes)
        )


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "optimized": OptimizedNet,
    "baseline": BaselineNet,
    "baseline_relu_on_logits": partial(BaselineNet, relu_on_logits=True),
}


def build_network(
    name: str, memory_format: torch.memory_format = torch.contiguous_format, **settings: Any
) -> nn.Module:
    """Builds the network of this name or class path, with those of the settings that its class has as arguments.

    Raises:
        UserError: there is no such class, or it is no network that maps images to one logit for each class.
    """
    cls = network_class(name)
    accepted = inspect.signature(cls).parameters
    images = torch.zeros(2, *IMAGE_SHAPE).to(memory_format=memory_format)
    try:
        net = cls(**{name: value for name, value in settings.items() if name in accepted})
        net = net.to(memory_format=memory_format)
        with torch.no_grad():
            shape = tuple(net.eval()(images).shape)
        if shape != (2, settings["num_classes"]):
            raise ValueError(f"it gives {shape} instead of (2, {settings['num_classes']}), a logit for each class")
    except Exception as error:  # the class may raise any type
        advice = (
            f" An argument of the class needs a default, or one of the names {', '.join(settings)}. For `view` after a "
            "convolution, add --model.channels_last false."
        )
        raise UserError(
            f"--model.network {name} cannot be built, or cannot classify images (2, 1, 28, 28): {_text(error)}."
            f"{'' if name in NETWORKS else advice}"
        ) from None
    return net.train()


def network_class(path: str) -> Callable[..., nn.Module]:
    """The class or function that builds the network of this name, or of this class path."""
    if not isinstance(path, str):
        raise UserError(f"network={str(path)[:100]}: use the path of the class as a text, such as 'my_nets.MyNet'.")
    if path in NETWORKS:
        return NETWORKS[path]
    module, _, name = path.rpartition(".")
    try:
        if not module:
            raise ImportError("no network has this name")
        cls = getattr(import_module(module), name)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise TypeError("it is not a subclass of torch.nn.Module")
    except Exception as error:  # the module may raise any type
        raise UserError(
            f"--model.network {path}: {_text(error)}. Use {', '.join(NETWORKS)}, or the path of a class such as "
            "my_package.MyNet, whose module can be imported from the current directory."
        ) from None
    return cls


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class ExecutedLayer(NamedTuple):
    """A layer as it computes a batch."""

    module: nn.Module
    input: Tensor  # (B, C, H, W) or (B, C); the first one
    output: Tensor


def executed_layers(net: nn.Module, images: Tensor | None = None) -> list[ExecutedLayer]:
    """The layers that compute normalised images (B, 1, 28, 28), by default a blank one, in order, in evaluation."""
    layers: list[ExecutedLayer] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        layers.append(ExecutedLayer(module, [*inputs, *named.values()][0], output))

    leaves = (
        module
        for name, module in net.named_modules()
        if "parametrizations" not in name and all(name == "parametrizations" for name, _ in module.named_children())
    )
    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in leaves]
    modes = [(module, module.training) for module in net.modules()]
    parameter = next(net.parameters())
    try:
        with torch.no_grad():  # evaluation draws no random numbers and changes no batch norm
            net.eval()((torch.zeros(1, *IMAGE_SHAPE) if images is None else images).to(parameter))
    finally:
        for module, mode in modes:
            module.training = mode
        for hook in hooks:
            hook.remove()
    return layers


def count_normed_convolutions(layers: Sequence[ExecutedLayer]) -> tuple[int, int]:
    """The number of convolutions whose output batch norm normalises, and of all."""
    outputs = [layer.output for layer in layers if isinstance(layer.module, nn.modules.conv._ConvNd)]
    # The base class of all kinds: --trainer.sync_batchnorm replaces the layers while it trains, and once more after.
    normed = [layer.input for layer in layers if isinstance(layer.module, nn.modules.batchnorm._BatchNorm)]
    return sum(any(output is each for each in normed) for output in outputs), len(outputs)


def num_trainable_parameters(net: nn.Module) -> int:
    """Number of parameters with `requires_grad`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
