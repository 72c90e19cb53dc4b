"""`python -m mnist_lightning demo`: opens the page that `export --format html` writes."""

import tempfile
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.bounds import PathText, Port
from mnist_lightning.options import command_parser, parse_options


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["--port", "8000"])`."""
    demo(**parse_options(command_parser(demo), args))


def demo(ckpt_path: PathText = "models/mnist.ckpt", port: Port | None = None) -> None:
    """Open a page to draw digits on in the browser.

    Args:
        ckpt_path: Checkpoint of the network.
        port: Serve the page at this port, to this machine only, until Ctrl-C, instead of opening it.

    Raises:
        UserError: the port cannot be used.
        CheckpointError: the checkpoint cannot be read.
        DivergenceError: the network's logits are not finite.
        UserError: the page cannot compute one of the network's layers.
    """
    from mnist_lightning.demo.server import HOST, page_server
    from mnist_lightning.export.drawing_page import write_page
    from mnist_lightning.files import atomic_write
    from mnist_lightning.runs.checkpoint import load_classifier

    page = write_page(load_classifier(ckpt_path))
    if port is None:
        path = Path(tempfile.mkdtemp(prefix="mnist_lightning-"), "digits.html")
        atomic_write(path, page)
        print(f"The page: {path}\nIf no browser shows it, open the file in one, or use --port 8000.", flush=True)
        webbrowser.open(path.as_uri())
        return
    with page_server(page, port) as server:
        print(f"Draw at http://{HOST}:{port} (stop with Ctrl-C)", flush=True)
        server.serve_forever()
