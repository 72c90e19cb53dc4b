"""`python -m mnist_lightning export`: writes a network to one file and compares the file with the network."""

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.export import FormatName
from mnist_lightning.options import command_parser, parse_options, use_threads


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["--ckpt_path", "models/mnist.ckpt", "--format", "onnx", "--output", "mnist.onnx"])`."""
    export(**parse_options(command_parser(export), args))


def export(
    ckpt_path: PathText,
    format: FormatName,  # noqa: A002  (the option's name)
    output: PathText,
    data_dir: PathText | None = None,
    num_threads: Threads | None = None,
) -> None:
    """Write a trained network to one file and compare the file's outputs with the network's.

    Args:
        ckpt_path: Checkpoint of the network.
        format: onnx; onnx_int8, smaller, rejected if it loses 0.1 percentage points of accuracy or more; torch, for
            torch.export.load; weights, a small checkpoint for this project's commands that cannot be resumed; html, a
            page to draw on.
        output: New file: .onnx, .pt2 for torch, .ckpt for weights, .html.
        data_dir: Directory of the images, as --data.data_dir; by default the environment variable MNIST_DATA_DIR, else
            `data`.
        num_threads: Number of CPU threads; one per core by default.

    Raises:
        UserError: `output` cannot be written, or a package is missing.
        CheckpointError: the checkpoint cannot be read.
        UserError: the data files are missing and could not be downloaded.
        DivergenceError: the network's logits are not finite.
        UserError: the format cannot hold the network, or does not reproduce its outputs; no file is written.
    """
    from mnist_lightning.export.writing import export_checkpoint

    use_threads(num_threads)
    for line in export_checkpoint(Path(ckpt_path), format, Path(output), data_dir):
        print(line, flush=True)
