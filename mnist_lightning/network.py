"""The two networks, without Lightning: the optimized one with 18,962 parameters and the baseline with 6,379,786.

`build_network` also builds a user's network, named by its class path.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.fast.sparse_dropout import SparseDropout

Head = Literal["average_pooling", "fully_connected"]

IMAGE_SHAPE = (1, 28, 28)
CHANNELS = (10, 18, 18, 28, 28)  # of the original's first five convolutions


def _conv_relu(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm subtracts the mean, so a bias before it would have no effect.
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()] if batch_norm else [conv, nn.ReLU()]


def _head(head: Head, num_classes: int) -> list[nn.Module]:
    """From (B, num_classes, 7, 7) to logits (B, num_classes)."""
    if head == "fully_connected":
        return [nn.Flatten(), nn.Linear(num_classes * 7 * 7, num_classes)]
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


class LayeredNet(nn.Module):
    """A network that computes `layers` and nothing else, so that `--model.backend fused` can compute them together.

    Maps normalised images (B, 1, 28, 28) to logits (B, num_classes).
    """

    layers: nn.Sequential

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class OptimizedNet(LayeredNet):
    """Six 3×3 convolutions with batch norm, light dropout and global average pooling: 18,962 parameters.

    Args:
        dropout: Probability of zeroing an activation before each of the two max poolings, in [0, 1).
        channels: Output channels of the first five convolutions; the last one has `num_classes`.
        batch_norm: Add batch norm after each convolution; without it, the convolutions have a bias.
        head: Layer after the last convolution: global average pooling or a fully connected layer.
        num_classes: Number of classes.

    Raises:
        ValueError: `dropout` is outside [0, 1).
    """

    def __init__(
        self,
        dropout: float = 0.05,
        channels: Sequence[int] = CHANNELS,
        batch_norm: bool = True,
        head: Head = "average_pooling",
        num_classes: int = 10,
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        super().__init__()
        first, second, third, fourth, fifth = channels
        self.layers = nn.Sequential(
            *_conv_relu(1, first, batch_norm),
            *_conv_relu(first, second, batch_norm),
            SparseDropout(dropout),
            nn.MaxPool2d(2),  # (B, second, 14, 14)
            *_conv_relu(second, third, batch_norm),
            *_conv_relu(third, fourth, batch_norm),
            SparseDropout(dropout),
            nn.MaxPool2d(2),  # (B, fourth, 7, 7)
            *_conv_relu(fourth, fifth, batch_norm),
            *_conv_relu(fifth, num_classes, batch_norm),
            *_head(head, num_classes),
        )


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
    """Builds the network of this name, with those of the settings that its class has as arguments.

    Args:
        name: `optimized`, `baseline`, `baseline_relu_on_logits`, or the path of a class, such as `my_package.MyNet`.
        memory_format: of the network, and of the images that it will get.
        settings: `num_classes` and other arguments.

    Raises:
        UserError: there is no such class, or it is no network that maps images to one logit for each class.
    """
    if name in NETWORKS:
        return _build(NETWORKS[name], settings).to(memory_format=memory_format)
    cls = _network_class(name)
    try:
        net = _build(cls, settings).to(memory_format=memory_format)
        if not any(True for _ in net.parameters()):
            raise ValueError("it has no parameters")
        with torch.no_grad():
            shape = tuple(net.eval()(torch.zeros(2, *IMAGE_SHAPE).to(memory_format=memory_format)).shape)
        if shape != (2, settings["num_classes"]):
            raise ValueError(f"it gives {shape} instead of (2, {settings['num_classes']}), a logit for each class")
    except Exception as error:  # the class may raise any type
        raise UserError(
            f"--model.network {name} cannot be built, or cannot classify images (2, 1, 28, 28): {_text(error)}. An "
            f"argument of the class needs a default, or one of the names {', '.join(settings)}. For `view` after a "
            "convolution, add --model.channels_last false."
        ) from None
    return net.train()


def _build(cls: Callable[..., nn.Module], settings: dict[str, Any]) -> nn.Module:
    accepted = inspect.signature(cls).parameters
    return cls(**{name: value for name, value in settings.items() if name in accepted})


def _network_class(path: str) -> type[nn.Module]:
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


def leaf_modules(net: nn.Module) -> list[nn.Module]:
    """The modules without submodules, in the order in which they were added."""
    return [module for module in net.modules() if not list(module.children())]


def count_normed_convolutions(net: nn.Module) -> tuple[int, int]:
    """The number of convolutions that batch norm follows, in the order in which modules were added, and of all."""
    leaves = leaf_modules(net)
    pairs = zip(leaves, [*leaves[1:], None], strict=True)
    following = [after for module, after in pairs if isinstance(module, nn.Conv2d)]
    # The base class of all kinds: --trainer.sync_batchnorm replaces the layers while it trains, and once more after.
    return sum(isinstance(after, nn.modules.batchnorm._BatchNorm) for after in following), len(following)


def num_trainable_parameters(net: nn.Module) -> int:
    """Number of parameters with `requires_grad`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
