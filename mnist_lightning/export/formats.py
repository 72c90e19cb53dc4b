"""The interface of export formats: build, serialise with metadata, and load."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from mnist_lightning.export.pixel_network import PixelNetwork

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
    """

    suffix: str
    is_exact = True

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
