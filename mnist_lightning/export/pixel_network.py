"""The exported network: pixels in, logits out."""

import copy

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.mnist_files import PIXEL_MEAN, PIXEL_STD


class PixelNetwork(nn.Module):
    """Normalisation followed by a copy of a trained network, in evaluation mode.

    Maps images (B, 1, 28, 28) float32 in [0, 1] to logits (B, 10).

    Args:
        net: Maps normalised images to logits.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).float().to(memory_format=torch.contiguous_format)
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - PIXEL_MEAN) / PIXEL_STD)
        return logits


def pixel_network(classifier: DigitClassifier) -> PixelNetwork:
    """The network of a classifier, without its test-time augmentation."""
    return PixelNetwork(classifier.net)
