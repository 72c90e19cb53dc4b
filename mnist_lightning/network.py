"""The two networks, without Lightning: the optimized one with 18,962 parameters and the baseline with 6,379,786."""

from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.fast.sparse_dropout import SparseDropout

Head = Literal["average_pooling", "fully_connected"]

IMAGE_SHAPE = (1, 28, 28)
NUM_CLASSES = 10


def _conv_relu(in_channels: int, out_channels: int, batch_norm: bool) -> list[nn.Module]:
    # Batch norm subtracts the mean, so a bias before it would have no effect.
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()] if batch_norm else [conv, nn.ReLU()]


def _head(head: Head) -> list[nn.Module]:
    """From (B, 10, 7, 7) to logits (B, 10)."""
    if head == "fully_connected":
        return [nn.Flatten(), nn.Linear(NUM_CLASSES * 7 * 7, NUM_CLASSES)]
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


class OptimizedNet(nn.Module):
    """Six 3×3 convolutions with batch norm, light dropout and global average pooling: 18,962 parameters.

    Maps normalised images (B, 1, 28, 28) to logits (B, 10).

    Args:
        dropout: Probability of zeroing an activation before each of the two max poolings, in [0, 1).
        width: Channel multiplier for every layer except the last.
        batch_norm: Add batch norm after each convolution; without it, the convolutions have a bias.
        head: Layer after the last convolution: global average pooling or a fully connected layer.

    Raises:
        ValueError: `dropout` is outside [0, 1).
    """

    def __init__(
        self, dropout: float = 0.05, width: int = 1, batch_norm: bool = True, head: Head = "average_pooling"
    ) -> None:
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        super().__init__()
        narrow, middle, wide = 10 * width, 18 * width, 28 * width
        self.layers = nn.Sequential(
            *_conv_relu(1, narrow, batch_norm),
            *_conv_relu(narrow, middle, batch_norm),
            SparseDropout(dropout),
            nn.MaxPool2d(2),  # (B, 18, 14, 14) at width 1
            *_conv_relu(middle, middle, batch_norm),
            *_conv_relu(middle, wide, batch_norm),
            SparseDropout(dropout),
            nn.MaxPool2d(2),  # (B, 28, 7, 7)
            *_conv_relu(wide, wide, batch_norm),
            *_conv_relu(wide, NUM_CLASSES, batch_norm),
            *_head(head),
        )

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class BaselineNet(nn.Module):
    """Seven 3×3 convolutions with bias, without batch norm or dropout: 6,379,786 parameters.

    Maps normalised images (B, 1, 28, 28) to logits (B, 10).

    Args:
        relu_on_logits: Apply a ReLU to the logits, a common mistake: it sets every negative logit to 0.
    """

    def __init__(self, relu_on_logits: bool = False) -> None:
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
            nn.Conv2d(1024, NUM_CLASSES, kernel_size=3),  # (B, 10, 1, 1)
            *([nn.ReLU()] if relu_on_logits else []),
            nn.Flatten(),  # (B, 10)
        )

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


def num_trainable_parameters(net: nn.Module) -> int:
    """Number of parameters with `requires_grad`."""
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
