"""`python -m mnist_lightning demo`: serves the page on this machine alone."""

import os
import threading
from collections.abc import Sequence

import torch
from jsonargparse.typing import restricted_number_type

from mnist_lightning.cli_parser import ShortErrorParser
from mnist_lightning.command_parser import command_parser
from mnist_lightning.demo.page import build_page
from mnist_lightning.errors import SettingError
from mnist_lightning.option_types import PathText
from mnist_lightning.trained import load_classifier

Port = restricted_number_type("Port", int, [(">=", 1), ("<=", 65_535)])
HOST = "127.0.0.1"  # nobody else on the network draws here


def run_demo(args: Sequence[str]) -> None:
    """Serves until Ctrl-C: `run_demo(["--ckpt_path", "models/mnist.ckpt"])`.

    Raises:
        SettingError: gradio is not installed, or the port is taken.
        CheckpointError: the checkpoint cannot be read.
    """
    options = _parser().parse_args(list(args))
    # Before the import: nothing asks for a newer version, nothing is reported, and no proxy is asked for this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    try:
        import gradio
    except ImportError:
        raise SettingError("demo needs gradio: `pip install '.[demo]'`.") from None
    classifier = load_classifier(options.ckpt_path)
    torch.set_num_threads(1)  # one image at a time is too little work to share
    page = build_page(classifier)
    plain = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # else a page of Google's
    try:
        page.launch(
            server_name=HOST,
            server_port=options.port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=plain,
            footer_links=[],
        )
    except OSError:
        raise SettingError(
            f"--port {options.port}: another program serves there. Name another, such as --port {options.port + 1}."
        ) from None
    print(f"Draw on http://{HOST}:{options.port} (Ctrl-C ends)", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _parser() -> ShortErrorParser:
    parser = command_parser("demo", "Serve a page to draw digits on, on this machine.")
    parser.add_argument("--ckpt_path", type=PathText, required=True, help="The checkpoint.")
    parser.add_argument("--port", type=Port, default=7860, help="Port to serve on.")
    return parser
