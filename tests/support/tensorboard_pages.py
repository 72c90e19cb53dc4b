"""Starts a TensorBoard server and reads its pages."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page

from support import processes

TIMEOUT_MS = 120_000  # for what takes a second on an idle machine


@contextmanager
def server(logdir: Path) -> Iterator[str]:
    """Serves the runs under `logdir` until the block ends; yields the address once all runs are loaded."""
    port = processes.free_port()
    # A relative path, because the pages show it.
    args = ["--logdir", logdir.name, "--host", "localhost", "--port", str(port)]
    executable = str(Path(sys.executable).parent / "tensorboard")
    url = f"http://localhost:{port}"
    with subprocess.Popen(
        [executable, *args], cwd=logdir.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + TIMEOUT_MS / 1000
            while b"version_" not in _answer(f"{url}/data/runs"):
                assert time.monotonic() < deadline, "TensorBoard serves no runs"
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()


def _answer(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content: bytes = answer.read()
    except OSError:  # the server is starting
        return b""
    return content


def open_dashboard(page: Page, url: str, name: str) -> None:
    """Opens a dashboard by its name in the address."""
    page.goto("about:blank")  # changing only the part after `#` would not reload the page
    page.goto(f"{url}/#{name}")


def wait_for_text(page: Page, wanted: Sequence[str]) -> None:
    """Waits until the page contains all of `wanted`."""
    for each in wanted:
        page.get_by_text(each).first.wait_for(state="attached", timeout=TIMEOUT_MS)


def filter_tags(page: Page, expression: str) -> None:
    """Shows the matching tags, in one open group."""
    page.locator("tf-tag-filterer input").first.fill(expression)
