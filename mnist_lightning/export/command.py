"""`python -m mnist_lightning export`: writes a network as one file, and holds what was written against the network."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

import mnist_lightning
from mnist_lightning.cli_parser import ShortErrorParser
from mnist_lightning.command_parser import add_evaluation_options, command_parser
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import ExportError, SettingError
from mnist_lightning.export.comparison import (
    MAX_INT8_ACCURACY_LOSS,
    MAX_LOGIT_DIFFERENCE,
    NUM_COMPARED,
    Comparison,
    accuracy,
    as_pixels,
    compare,
)
from mnist_lightning.export.formats import Exported, ExportFormat, Metadata
from mnist_lightning.export.onnx_model import Int8OnnxFormat, OnnxFormat, check_packages
from mnist_lightning.export.pixel_network import PixelNetwork, pixel_network
from mnist_lightning.export.torch_program import TorchFormat
from mnist_lightning.export.weights import WeightsFormat
from mnist_lightning.networks import NUM_CLASSES, num_trainable_parameters
from mnist_lightning.option_types import PathText
from mnist_lightning.output_files import check_output
from mnist_lightning.trained import load_classifier, load_datamodule

FormatName = Literal["onnx", "onnx_int8", "torch", "weights"]

NUM_CALIBRATION_IMAGES = 1000


def run_export(args: Sequence[str]) -> None:
    """Exports: `run_export(["--ckpt_path", "models/mnist.ckpt", "--format", "onnx", "--output", "mnist.onnx"])`.

    Raises:
        SettingError: the file cannot be written there, or a package is missing.
        CheckpointError: the checkpoint cannot be read.
        ExportError: the file does not compute what the network does; it is not written.
    """
    options = _parser().parse_args(list(args))
    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    output = Path(options.output)
    export_format = _format(options.format, Path(options.ckpt_path))
    check_output(output, export_format.suffix)
    network = pixel_network(load_classifier(options.ckpt_path))
    data = load_datamodule(options.ckpt_path, options.data_dir)
    data.setup("test")
    for line in export(network, export_format, data, output):
        print(line, flush=True)


def _format(name: FormatName, ckpt_path: Path) -> ExportFormat[Any]:
    match name:
        case "torch":
            return TorchFormat()
        case "weights":
            return WeightsFormat(ckpt_path)
        case "onnx" | "onnx_int8":
            check_packages()
            return OnnxFormat() if name == "onnx" else Int8OnnxFormat()


def export(
    network: PixelNetwork, export_format: ExportFormat[Any], data: DigitsDataModule, output: Path
) -> tuple[str, str, str]:
    """Writes `output`, and returns three lines: the network, the file, and how they compare.

    Raises:
        ExportError: the file does not compute what the network does, or loses accuracy in int8; it is not written.
        SettingError: the file cannot be written.
    """
    train, test = data.images("train"), data.images("test")
    calibration = as_pixels(train.images[:NUM_CALIBRATION_IMAGES])
    model = export_format.build(network, calibration)
    metadata: Metadata = {
        "mnist_lightning": mnist_lightning.__version__,
        "torch": str(torch.__version__),
        "input": "images: (batch, 1, 28, 28) float32 in [0, 1], white on black",
        "output": "logits: (batch, 10) float32, one for each class",
        "classes": [str(digit) for digit in range(NUM_CLASSES)],
        "num_parameters": num_trainable_parameters(network),
    }
    try:
        # Beside the output, so that its name becomes the file's in one act.
        with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as directory:
            partial = Path(directory) / output.name
            export_format.save(model, partial, metadata)
            measured = accuracy(export_format.load(partial), test)
            metadata |= {"accuracy": measured, "measured_on": f"{len(test.labels):,} {data.title} test images"}
            export_format.save(model, partial, metadata)
            exported = export_format.load(partial)
            comparison = compare(network, exported, as_pixels(test.images[:NUM_COMPARED]))
            network_accuracy = accuracy(Exported(network, {}), test)
            _check(comparison, export_format, network_accuracy, measured, output)
            num_bytes = partial.stat().st_size
            partial.replace(output)
    except OSError as error:
        raise SettingError(
            f"--output {output} cannot be written ({error.strerror}). Name a file in a directory that can be written."
        ) from None
    return _lines(output, num_bytes, metadata, comparison, network_accuracy, export_format.is_exact)


def _check(
    comparison: Comparison, export_format: ExportFormat[Any], network_accuracy: float, measured: float, output: Path
) -> None:
    if not export_format.is_exact:
        loss = round(network_accuracy - measured, 9)  # the difference of two shares of as many images
        if loss >= MAX_INT8_ACCURACY_LOSS:
            raise ExportError(
                f"--format onnx_int8: {output} would lose {loss:.2%} of accuracy, and at most "
                f"{MAX_INT8_ACCURACY_LOSS:.1%} may be lost. It is not written; use --format onnx."
            )
    elif comparison.num_other_classes or comparison.max_logit_difference > MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"{output} does not compute what the network does: {comparison.num_other_classes} other classes among "
            f"{comparison.num_images} images, logits up to {comparison.max_logit_difference:.1e} away. It is not "
            "written; try another --format."
        )


def _lines(
    output: Path,
    num_bytes: int,
    metadata: Metadata,
    comparison: Comparison,
    network_accuracy: float,
    is_exact: bool,
) -> tuple[str, str, str]:
    width = max(len(output.name), len("the network"))
    compared = f"Compared on {comparison.num_images:,} test images: "
    compared += f"logits within {comparison.max_logit_difference:.1e}, "
    others = comparison.num_other_classes
    compared += "the same classes." if others == 0 else f"{others} of another class."
    num_bytes_of_network = 4 * metadata["num_parameters"]
    ratios = comparison.speed_ratios
    ratio = f", {median(ratios):.1f} times as many ({min(ratios):.1f}–{max(ratios):.1f})"
    return (
        _line("the network", width, num_bytes_of_network, network_accuracy, comparison.network_images_per_second),
        _line(output.name, width, num_bytes, metadata["accuracy"], comparison.exported_images_per_second) + ratio,
        f"{compared} Accuracy is that of {metadata['measured_on']}, one view of each.",
    )


def _line(name: str, width: int, num_bytes: int, measured: float, images_per_second: float) -> str:
    return f"{name:<{width}}  {num_bytes / 1000:6.1f} kB  accuracy {measured:.2%}  {images_per_second:7,.0f} images/s"


def _parser() -> ShortErrorParser:
    parser = command_parser("export", "Write a trained network as one file, and try the file.")
    parser.add_argument("--ckpt_path", type=PathText, required=True, help="The checkpoint.")
    parser.add_argument(
        "--format",
        type=FormatName,
        required=True,
        help="onnx; onnx_int8, a smaller one that is refused where it loses 0.1 % of accuracy; torch, for "
        "torch.export.load; weights, a small checkpoint for this project's commands, not to train on.",
    )
    parser.add_argument(
        "--output", type=PathText, required=True, help="The file: .onnx, .pt2 for torch, .ckpt for weights."
    )
    add_evaluation_options(parser)
    return parser
