"""`python -m mnist_lightning export`, and `demo`, which opens the page of `export --format html`."""

import tempfile
import webbrowser
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
        data_dir: Directory of the images, as --data.data_dir; by default MNIST_DATA_DIR in the environment, or `data`.
        network: Class path of the checkpoint's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.export.comparison import export_checkpoint

    export_checkpoint(ckpt_path, format, Path(output), data_dir, network)


def demo(ckpt_path: str = "models/mnist.ckpt", network: str | None = None) -> None:
    """Write a page to draw digits on to a temporary file, and open it in the browser.

    Args:
        ckpt_path: Checkpoint of the network.
        network: Class path of the checkpoint's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.export.drawing_page import page_of
    from mnist_lightning.export.pixel_network import PixelNetwork
    from mnist_lightning.runs.checkpoint import load_classifier

    pixel_network = PixelNetwork(load_classifier(ckpt_path, network))
    # The metadata lack the accuracy, which would need the data set.
    page = page_of(pixel_network, pixel_network.metadata())
    path = Path(tempfile.mkdtemp(prefix="mnist_lightning-"), "digits.html")
    path.write_bytes(page)
    print(f"The page: {path}\nIf no browser shows it, open this file in one.", flush=True)
    webbrowser.open(path.as_uri())
