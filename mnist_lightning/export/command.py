"""`python -m mnist_lightning export`: writes a network to one file and compares the file with the network."""

from pathlib import Path
from typing import Literal


def export(
    ckpt_path: str,
    format: Literal["onnx", "onnx_int8", "html"],  # noqa: A002  (the option's name)
    output: str,
    data_dir: str | None = None,
    network: str | None = None,
) -> None:
    """Write a trained network to one file and compare the file's outputs with the network's.

    Args:
        ckpt_path: Checkpoint of the network.
        format: onnx; onnx_int8, smaller, rejected if it loses 0.1 points of accuracy or more; html, a page to draw on.
        output: New file: .onnx or .html.
        data_dir: Directory of the images, as --data.data_dir; by default the environment variable MNIST_DATA_DIR, else
            `data`.
        network: Class path of the checkpoint's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.export.comparison import export_checkpoint

    export_checkpoint(ckpt_path, format, Path(output), data_dir, network)
