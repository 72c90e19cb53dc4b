"""`python -m mnist_lightning demo`: serves the page on localhost."""

import os
import threading
from collections.abc import Sequence

from mnist_lightning.bounds import PathText, Port
from mnist_lightning.errors import SettingError
from mnist_lightning.options.commands import command_parser, parse_options

HOST = "127.0.0.1"  # not reachable from the network


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["--port", "8000"])`."""
    demo(**parse_options(command_parser(demo), args))


def demo(ckpt_path: PathText = "models/mnist.ckpt", port: Port = 7860) -> None:
    """Serve a web page to draw digits on, reachable from this machine only, until Ctrl-C.

    Args:
        ckpt_path: Checkpoint of the network.
        port: Port of the server.

    Raises:
        SettingError: gradio is not installed, or the port is in use.
        CheckpointError: the checkpoint cannot be read.
        DivergenceError: the network's logits are not finite.
    """
    import torch

    # Before importing gradio: no version check, no analytics, and no proxy for this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    try:
        import gradio
    except ImportError:
        raise SettingError("demo needs the package gradio. Run `pip install '.[demo]'`.") from None
    from mnist_lightning.demo.page import build_page
    from mnist_lightning.read.reading import classify
    from mnist_lightning.runs.checkpoint import load_classifier

    classifier = load_classifier(ckpt_path)
    # Rejects weights that overflow before the page opens.
    classify(classifier, torch.zeros(1, 28, 28, dtype=torch.uint8))
    torch.set_num_threads(1)  # one image is too little work for several threads
    page = build_page(classifier)
    # The default theme would load fonts from Google.
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=theme,
            footer_links=[],
        )
    except OSError:
        raise SettingError(
            f"--port {port} is in use by another program. Use another port, such as --port {port + 1}."
        ) from None
    print(f"Draw at http://{HOST}:{port} (stop with Ctrl-C)", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
