"""Takes the screenshots of the README, part of `make readme`: TensorBoard after two short runs, and the demo."""

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from mnist_lightning.main import main as command_line
from support import demo_page
from support.browser import open_page
from support.runs import PROJECT
from support.tensorboard_pages import TIMEOUT_MS, filter_tags, open_dashboard, server, wait_for_text

DOCS = PROJECT / "docs"
NUM_COLOURS = 256  # a palette halves the file size without visible loss
RATES = ("0.1", "0.05")
SETTLE_MS = 3000  # until animations have ended; there is no event for it


def train(root: Path, epochs: int) -> None:
    """Trains `optimized.yaml` once with each learning rate."""
    for rate in RATES:
        options = ["--model.max_lr", rate, "--trainer.max_epochs", str(epochs)]
        config = str(PROJECT / "configs" / "optimized.yaml")
        command_line(["fit", "--config", config, *options, "--trainer.default_root_dir", str(root)])


def images(page: Page, url: str) -> None:
    """Confusion matrix and most confident mistakes of one run."""
    open_dashboard(page, url, "images")
    filter_tags(page, "validation/")
    page.locator("tf-runs-selector input").first.fill("version_0")
    wait_for_text(page, ["validation/confusion_matrix"])


def hparams(page: Page, url: str) -> None:
    """Two runs in the table of hyperparameters."""
    open_dashboard(page, url, "hparams")
    wait_for_text(page, ["optimized/version_1", "0.050000"])


PICTURES: dict[str, tuple[Callable[[Page, str], None], int, int]] = {  # function, width and height in pixels
    "images": (images, 1500, 640),
    "hparams": (hparams, 1700, 300),
}


def take_tensorboard(root: Path) -> None:
    """Takes the screenshots of TensorBoard with the runs under `root`."""
    with server(root) as url, open_page(allow_outside_requests=True) as page:
        page.set_default_timeout(TIMEOUT_MS)
        for name, (show, width, height) in PICTURES.items():
            page.set_viewport_size({"width": width, "height": height})
            show(page, url)
            save(page, DOCS / "tensorboard" / f"{name}.png")


def take_demo() -> None:
    """Draws a digit on the shipped model's page and takes a screenshot."""
    with open_page(860, 700) as page:
        page.goto((DOCS / "digits.html").as_uri())
        for stroke in demo_page.written(3, 0, np.random.default_rng(4)):
            demo_page.draw(page, stroke)
        save(page, DOCS / "demo.png")


def save(page: Page, path: Path) -> None:
    """Writes a screenshot after animations have ended."""
    page.wait_for_timeout(SETTLE_MS)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(NUM_COLOURS).save(path, optimize=True)


def main() -> None:
    """Trains unless --runs is given, and takes the screenshots."""
    parser = argparse.ArgumentParser(description="Take the README's screenshots.")
    parser.add_argument("--runs", type=Path, help="directory of two finished runs of optimized.yaml; trains by default")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each of the two runs")
    args = parser.parse_args()
    take_demo()
    with tempfile.TemporaryDirectory() as directory:
        root = args.runs or Path(directory, "runs")
        if args.runs is None:
            train(root, args.epochs)
        take_tensorboard(root)


if __name__ == "__main__":
    main()
