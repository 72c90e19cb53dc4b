"""The exported network: pixels in, logits out."""

import copy

import torch
from torch import Tensor, nn
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier


class PixelNetwork(nn.Module):
    """Normalisation followed by a copy of a trained network, in evaluation mode.

    Maps images (B, 1, 28, 28) float32 in [0, 1] to logits (B, num_classes).

    Args:
        net: Maps normalised images to logits.
        mean: The normalisation subtracts it.
        std: The normalisation divides by it.
    """

    def __init__(self, net: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).float().to(memory_format=torch.contiguous_format)
        self.mean, self.std = mean, std
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits


def pixel_network(classifier: DigitClassifier) -> PixelNetwork:
    """The network of a classifier, without its test-time augmentation."""
    return PixelNetwork(classifier.net, classifier.pixel_mean, classifier.pixel_std)
