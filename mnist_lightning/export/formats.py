"""The forms that a network is exported in: how each is made, saved with what is to be known of it, and loaded."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from mnist_lightning.export.pixel_network import PixelNetwork

Metadata = dict[str, Any]  # plain values, as JSON has them
Model = TypeVar("Model")

METADATA = "mnist_lightning.json"  # the name that the metadata goes by in a file


class Exported(NamedTuple):
    """A file that was loaded again."""

    logits: Callable[[Tensor], Tensor]  # of images (B, 1, 28, 28) float32 in [0, 1], any B
    metadata: Metadata


class ExportFormat(ABC, Generic[Model]):
    """One form.

    Attributes:
        suffix: What its files' names end in.
        is_exact: Whether it computes what the network does, up to rounding in float32.
    """

    suffix: str
    is_exact = True

    @abstractmethod
    def build(self, network: PixelNetwork, calibration: Tensor) -> Model:
        """Turns the network into this form.

        Args:
            network: in evaluation mode, on the CPU.
            calibration: training images (N, 1, 28, 28) float32 in [0, 1], for forms that have to know their range.
        """

    @abstractmethod
    def content(self, model: Model, metadata: Metadata) -> bytes:
        """The file of the model and its metadata; in memory, as PyTorch's writers crash where the disk is full."""

    @abstractmethod
    def load(self, path: Path) -> Exported:
        """Reads a file of such content."""
