"""The format of torch.export: https://docs.pytorch.org/docs/stable/export.html."""

import io
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram
from typing_extensions import override

from mnist_lightning.export.formats import METADATA, Exported, ExportFormat, Metadata
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.network import IMAGE_SHAPE


class TorchFormat(ExportFormat[ExportedProgram]):
    """A program that `torch.export.load` loads without this project."""

    suffix = ".pt2"

    @override
    def build(self, network: PixelNetwork, calibration: Tensor) -> ExportedProgram:
        example = torch.zeros(2, *IMAGE_SHAPE)  # with one image, the exporter would fix the batch size to 1
        with torch.no_grad():
            return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))

    @override
    def content(self, model: ExportedProgram, metadata: Metadata) -> bytes:
        file = io.BytesIO()
        torch.export.save(model, file, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
        return file.getvalue()

    @override
    def load(self, path: Path) -> Exported:
        extra_files = {METADATA: ""}
        program = torch.export.load(path, extra_files=extra_files).module()
        return Exported(program, json.loads(extra_files[METADATA]))
