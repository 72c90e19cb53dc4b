"""What is exported: a network from pixels to logits, and what a file says of it."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

import mnist_lightning
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.network import num_trainable_parameters

Metadata = dict[str, Any]  # JSON values
METADATA = "mnist_lightning.json"  # key of the metadata in a file


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

    def metadata(self) -> Metadata:
        """What a file says of itself, before its accuracy is known."""
        return {
            "mnist_lightning": mnist_lightning.__version__,
            "torch": str(torch.__version__),
            "input": "images: (batch, 1, 28, 28) float32 in [0, 1], white on black",
            "output": f"logits: (batch, {len(self.class_names)}) float32, one per class",
            "classes": list(self.class_names),
            "num_parameters": num_trainable_parameters(self),
        }
