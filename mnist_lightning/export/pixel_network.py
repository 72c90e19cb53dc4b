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
        classifier: Its network, normalisation and class names; not its test-time augmentation.
    """

    def __init__(self, classifier: DigitClassifier) -> None:
        super().__init__()
        self.net = copy.deepcopy(classifier.net).float().to(memory_format=torch.contiguous_format)
        self.mean, self.std = classifier.pixel_mean, classifier.pixel_std
        self.class_names = classifier.class_names
        self.eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits
