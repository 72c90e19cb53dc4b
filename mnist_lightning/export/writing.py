"""Writes a network to one file, and compares the file with the network."""

import math
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from mnist_lightning.classifier import check_finite
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.export import FormatName
from mnist_lightning.export.comparison import (
    MAX_INT8_ACCURACY_LOSS,
    MAX_LOGIT_DIFFERENCE,
    Comparison,
    accuracy,
    as_pixels,
    compare,
    compute_logits,
)
from mnist_lightning.export.drawing_page import PageFormat
from mnist_lightning.export.formats import ExportFormat, Metadata, describe
from mnist_lightning.export.onnx_model import Int8OnnxFormat, OnnxFormat, check_packages
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.export.torch_program import TorchFormat
from mnist_lightning.export.weights import WeightsFormat
from mnist_lightning.files import atomic_write, check_output, one_line
from mnist_lightning.runs.checkpoint import read_checkpoint

NUM_CALIBRATION_IMAGES = 1000


def export_checkpoint(ckpt_path: Path, name: FormatName, output: Path, data_dir: str | None) -> tuple[str, str, str]:
    """Exports a checkpoint's network; the rest is as in `write_and_compare`, which this calls."""
    export_format = _format(name, ckpt_path)
    check_output(output, export_format.suffix)
    checkpoint = read_checkpoint(ckpt_path)
    network, data = PixelNetwork(checkpoint.classifier()), checkpoint.datamodule(data_dir)
    data.setup("test")
    return write_and_compare(network, export_format, data, output)


def _format(name: FormatName, ckpt_path: Path) -> ExportFormat[Any]:
    match name:
        case "torch":
            return TorchFormat()
        case "weights":
            return WeightsFormat(ckpt_path)
        case "html":
            return PageFormat()
        case "onnx" | "onnx_int8":
            check_packages()
            return OnnxFormat() if name == "onnx" else Int8OnnxFormat()


def write_and_compare(
    network: PixelNetwork, export_format: ExportFormat[Any], data: DigitsDataModule, output: Path
) -> tuple[str, str, str]:
    """Writes `output` and returns three lines: the network, the file and their comparison.

    Raises:
        DivergenceError: the network's logits are not finite.
        UserError: the file does not reproduce the network's outputs, or int8 loses accuracy; it is not written.
        UserError: `output` cannot be written.
    """
    test = data.images("test")
    images, labels = as_pixels(test.images), test.labels
    expected = compute_logits(network, images)  # (N, num_classes)
    check_finite(expected)
    calibration = as_pixels(data.images("train").images[:NUM_CALIBRATION_IMAGES])
    try:
        model = export_format.build(network, calibration)
    except UserError:
        raise
    except Exception as error:  # PyTorch's exporters raise any type for a user's network
        raise UserError(
            f"{output}: the network cannot be exported: {one_line(str(error))[:300]}. Try another --format."
        ) from error
    metadata = describe(network)
    try:
        # On the same file system as the output, so that renaming is atomic.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as directory:
            partial = Path(directory) / output.name
            atomic_write(partial, export_format.content(model, metadata))
            measured = accuracy(compute_logits(export_format.load(partial).logits, images), labels)
            metadata |= {"accuracy": measured, "measured_on": f"{len(labels):,} {data.title} test images"}
            atomic_write(partial, export_format.content(model, metadata))
            comparison = compare(network, expected, export_format.load(partial), images, labels)
            _check(comparison, export_format, output)
            num_bytes = partial.stat().st_size
            partial.replace(output)
    except OSError as error:
        raise UserError(
            f"--output {output} cannot be written ({error.strerror}). Use a file in a writable directory."
        ) from None
    return _lines(output, num_bytes, metadata, comparison, export_format.note)


def _check(comparison: Comparison, export_format: ExportFormat[Any], output: Path) -> None:
    difference, others = comparison.max_logit_difference, comparison.num_other_classes
    if not math.isfinite(difference):
        raise UserError(f"{output} would give logits that are not finite. It was not written; try another --format.")
    if export_format.is_exact and (others > 0 or difference > MAX_LOGIT_DIFFERENCE):
        raise UserError(
            f"{output} would not reproduce the network's outputs: {others:,} of {comparison.num_images:,} predictions "
            f"differ, and logits differ by up to {difference:.1e}. It was not written; try another --format."
        )
    loss = round(comparison.network_accuracy - comparison.exported_accuracy, 9)  # without float rounding
    if not export_format.is_exact and loss >= MAX_INT8_ACCURACY_LOSS:
        raise UserError(
            f"--format onnx_int8: {output} would lose {loss:.2%} of accuracy; the limit is "
            f"{MAX_INT8_ACCURACY_LOSS:.1%}. It was not written; use --format onnx."
        )


def _lines(
    output: Path, num_bytes: int, metadata: Metadata, comparison: Comparison, note: str = ""
) -> tuple[str, str, str]:
    width = max(len(output.name), len("the network"))
    others = comparison.num_other_classes
    classes = "the same classes" if others == 0 else f"{others:,} of another class"
    ratios = comparison.speed_ratios
    ratio = f"{median(ratios):.1f} times as many ({min(ratios):.1f}–{max(ratios):.1f})"
    network = _line("the network", width, 4 * metadata["num_parameters"], comparison.network_accuracy)
    file = _line(output.name, width, num_bytes, comparison.exported_accuracy)
    if not note:
        network += f"  {comparison.network_images_per_second:7,.0f} images/s"
        file += f"  {comparison.exported_images_per_second:7,.0f} images/s, {ratio}"
    return (
        network,
        file,
        f"Compared on {metadata['measured_on']}, one view of each: logits within "
        f"{comparison.max_logit_difference:.1e}, {classes}.{note}",
    )


def _line(name: str, width: int, num_bytes: int, measured: float) -> str:
    return f"{name:<{width}}  {num_bytes / 1000:6.1f} kB  accuracy {measured:.2%}"
