"""ONNX, in float32 and in int8: https://onnx.ai, computed by https://onnxruntime.ai."""

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from mnist_lightning.export.pixel_network import METADATA, Metadata, PixelNetwork
from mnist_lightning.network import IMAGE_SHAPE

INPUT, OUTPUT = "images", "logits"
CALIBRATION_BATCH_SIZE = 100


def onnx_model(network: PixelNetwork) -> Any:
    """Float32, with each batch norm folded into its convolution by PyTorch's exporter."""
    example = torch.zeros(2, *IMAGE_SHAPE)  # with one image, the exporter would fix the batch size to 1
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


def int8_model(network: PixelNetwork, images: Tensor) -> Any:
    """Convolutions in int8: weights quantised per channel, activations by their range on training images.

    The images: (N, 1, 28, 28) float32 in [0, 1].
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_static

    batches = ({INPUT: batch.numpy()} for batch in images.split(CALIBRATION_BATCH_SIZE))
    model = onnx_model(network)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "int8.onnx")
        logging.disable(logging.WARNING)  # the advice to fold batch norms, which PyTorch's exporter has done
        quantize_static(
            model,
            path,
            SimpleNamespace(get_next=lambda: next(batches, None)),  # a CalibrationDataReader
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # 7-bit weights, so that all processors compute the same: x86 without VNNI adds two products of
            # activation and weight in 16 bits, which saturates at 2 · 255 · 127 but not at 2 · 255 · 64. Unsigned
            # 8-bit weights would also work (99.58 % instead of 99.59 %, same size), but are 16 to 21 % slower.
            reduce_range=True,
            extra_options={"CalibMovingAverage": False},
        )
        logging.disable(logging.NOTSET)
        return onnx.load(path)


def onnx_bytes(model: Any, metadata: Metadata) -> bytes:
    """The content of an ONNX file."""
    import onnx

    model.producer_name = "mnist_lightning"
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata, ensure_ascii=False)})
    content: bytes = model.SerializeToString()
    return content


def load_onnx(content: bytes) -> Callable[[Tensor], Tensor]:
    """The network in an ONNX file: from images (B, 1, 28, 28) float32 in [0, 1] to logits (B, num_classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
