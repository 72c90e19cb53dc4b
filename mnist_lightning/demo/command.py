"""`python -m mnist_lightning demo`: opens the page that `export --format html` writes."""

import tempfile
import webbrowser
from pathlib import Path


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
