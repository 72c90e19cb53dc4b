"""`python -m mnist_lightning demo`: serves the page on this machine alone."""

import os
import threading
from collections.abc import Sequence

import torch

from mnist_lightning.bounds import PathText, Port
from mnist_lightning.demo.page import build_page
from mnist_lightning.errors import SettingError
from mnist_lightning.options.commands import command_parser
from mnist_lightning.read.reading import classify
from mnist_lightning.runs.checkpoint import load_classifier

HOST = "127.0.0.1"  # nobody else on the network draws here


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["--port", "8000"])`."""
    demo(**command_parser(demo).parse_args(list(args)).as_dict())


def demo(ckpt_path: PathText = "models/mnist.ckpt", port: Port = 7860) -> None:
    """Serve a page to draw digits on, on this machine alone, until Ctrl-C.

    Args:
        ckpt_path: The checkpoint of the network that reads.
        port: Port to serve on.

    Raises:
        SettingError: gradio is not installed, or the port is taken.
        CheckpointError: the checkpoint cannot be read.
        DivergenceError: the network's logits are not finite.
    """
    # Before the import: nothing asks for a newer version, nothing is reported, and no proxy is asked for this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    try:
        import gradio
    except ImportError:
        raise SettingError("demo needs gradio: `pip install '.[demo]'`.") from None
    classifier = load_classifier(ckpt_path)
    # Weights that overflow are refused before one draws.
    classify(classifier, torch.zeros(1, 28, 28, dtype=torch.uint8))
    torch.set_num_threads(1)  # one image at a time is too little work to share
    page = build_page(classifier)
    plain = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # else a page of Google's
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=plain,
            footer_links=[],
        )
    except OSError:
        raise SettingError(
            f"--port {port}: another program serves there. Name another, such as --port {port + 1}."
        ) from None
    print(f"Draw on http://{HOST}:{port} (Ctrl-C ends)", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
