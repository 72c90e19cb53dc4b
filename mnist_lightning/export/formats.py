"""The interface of export formats: build, serialise with metadata, and load."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

import mnist_lightning
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.network import num_trainable_parameters

Metadata = dict[str, Any]  # JSON values
Model = TypeVar("Model")

METADATA = "mnist_lightning.json"  # key of the metadata in the file


class Exported(NamedTuple):
    """A loaded file."""

    logits: Callable[[Tensor], Tensor]  # from images (B, 1, 28, 28) float32 in [0, 1], any B, to (B, num_classes)
    metadata: Metadata


class ExportFormat(ABC, Generic[Model]):
    """An export format.

    Attributes:
        suffix: File name suffix.
        is_exact: Whether the outputs equal the network's up to float32 rounding.
        note: If Python cannot run the file, what computes its outputs instead; its speed is then not reported.
    """

    suffix: str
    is_exact = True
    note = ""

    @abstractmethod
    def build(self, network: PixelNetwork, calibration: Tensor) -> Model:
        """Converts the network to this format.

        Args:
            network: in evaluation mode, on the CPU.
            calibration: training images (N, 1, 28, 28) float32 in [0, 1], for quantisation.
        """

    @abstractmethod
    def content(self, model: Model, metadata: Metadata) -> bytes:
        """Serialises model and metadata; in memory, because PyTorch's writers crash on a full disk."""

    @abstractmethod
    def load(self, path: Path) -> Exported:
        """Loads a file of this format."""


def describe(network: PixelNetwork) -> Metadata:
    """The metadata that does not need the data set."""
    return {
        "mnist_lightning": mnist_lightning.__version__,
        "torch": str(torch.__version__),
        "input": "images: (batch, 1, 28, 28) float32 in [0, 1], white on black",
        "output": f"logits: (batch, {len(network.class_names)}) float32, one per class",
        "classes": list(network.class_names),
        "num_parameters": num_trainable_parameters(network),
    }
