"""ONNX, in float32 and in int8: https://onnx.ai, computed by https://onnxruntime.ai."""

import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.export.formats import METADATA, Exported, ExportFormat, Metadata
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.network import IMAGE_SHAPE

if TYPE_CHECKING:
    from onnx import ModelProto
else:
    ModelProto = Any

INPUT, OUTPUT = "images", "logits"
CALIBRATION_BATCH_SIZE = 100


def check_packages() -> None:
    """Checks that the packages for ONNX are installed.

    Raises:
        UserError: a package is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--format onnx needs the package {error.name}. Run `pip install onnx onnxruntime onnxscript`, or use "
            "--format torch."
        ) from None


class OnnxFormat(ExportFormat[ModelProto]):
    """Float32, with each batch norm folded into its convolution by PyTorch's exporter."""

    suffix = ".onnx"

    @override
    def build(self, network: PixelNetwork, calibration: Tensor) -> ModelProto:
        example = torch.zeros(2, *IMAGE_SHAPE)  # with one image, the exporter would fix the batch size to 1
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        assert program is not None
        return program.model_proto

    @override
    def content(self, model: ModelProto, metadata: Metadata) -> bytes:
        import onnx

        model.producer_name = "mnist_lightning"
        onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata, ensure_ascii=False)})
        serialized: bytes = model.SerializeToString()
        return serialized

    @override
    def load(self, path: Path) -> Exported:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Spinning threads would slow down PyTorch's threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def logits(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

        return Exported(logits, json.loads(session.get_modelmeta().custom_metadata_map[METADATA]))


class Int8OnnxFormat(OnnxFormat):
    """Convolutions in int8: weights quantised per channel, activations by their range on training images."""

    is_exact = False

    @override
    def build(self, network: PixelNetwork, calibration: Tensor) -> ModelProto:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Images(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches = iter(calibration.split(CALIBRATION_BATCH_SIZE))

            def get_next(self) -> dict[str, Any] | None:
                batch = next(self.batches, None)
                return None if batch is None else {INPUT: batch.numpy()}

        model = super().build(network, calibration)
        with tempfile.TemporaryDirectory() as directory, _quiet():
            path = Path(directory) / "int8.onnx"
            quantize_static(
                model,
                path,
                Images(),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # 7-bit weights, so that all processors compute the same: x86 without VNNI adds two products of
                # activation and weight in 16 bits, which saturates at 2 · 255 · 127 but not at 2 · 255 · 64. Unsigned
                # 8-bit weights would also work (99.58 % instead of 99.59 %, same size), but are 16 to 21 % slower.
                reduce_range=True,
                extra_options={"CalibMovingAverage": False},
            )
            return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the exporters' progress messages."""
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        root.setLevel(level)
