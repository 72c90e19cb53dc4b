"""A weights-only checkpoint: smaller, and usable by every command, but not to resume training."""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mnist_lightning.export.formats import METADATA, Exported, ExportFormat, Metadata
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.checkpoint_file import load_checkpoint

KEPT = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")


class WeightsFormat(ExportFormat[dict[str, Any]]):
    """The weights and settings of a checkpoint.

    Args:
        ckpt_path: The full checkpoint.
    """

    suffix = ".ckpt"

    def __init__(self, ckpt_path: Path) -> None:
        self.ckpt_path = ckpt_path

    @override
    def build(self, network: PixelNetwork, calibration: Tensor) -> dict[str, Any]:
        checkpoint = load_checkpoint(self.ckpt_path)
        return {name: checkpoint[name] for name in KEPT if name in checkpoint}

    @override
    def content(self, model: dict[str, Any], metadata: Metadata) -> bytes:
        file = io.BytesIO()
        torch.save({**model, METADATA: metadata}, file)
        return file.getvalue()

    @override
    def load(self, path: Path) -> Exported:
        network = PixelNetwork(load_classifier(path))
        return Exported(network, load_checkpoint(path)[METADATA])
