"""The demo's server, and strokes on its canvas."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import processes
from support.runs import PROJECT

if TYPE_CHECKING:
    from playwright.sync_api import Page

COMMAND = ["demo"]
SEVEN = ((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))  # points of a line, as fractions of the canvas
ONE = ((0.5, 0.15), (0.5, 0.85))


@contextmanager
def served() -> Iterator[str]:
    """Serves the page in a separate process until the block ends; yields its address."""
    port = processes.free_port()
    command = [sys.executable, "-m", "mnist_lightning", *COMMAND, "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == f"Draw at http://127.0.0.1:{port} (stop with Ctrl-C)\n"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def show(page: "Page", url: str) -> None:
    """Opens the page and waits until it is ready."""
    from playwright.sync_api import expect  # not needed by tests outside a browser

    page.goto(url)
    expect(page.locator(".bars li")).to_have_count(10, timeout=60_000)


def draw(page: "Page", points: Sequence[tuple[float, float]]) -> None:
    """Draws a line through the points with the mouse."""
    box = page.locator("canvas.paper").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=15)
        time.sleep(0.1)
    page.mouse.up()
