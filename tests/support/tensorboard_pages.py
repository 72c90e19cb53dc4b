"""Starts a TensorBoard server and reads its pages."""

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, Frame, Page

from support import processes

TIMEOUT_MS = 120_000  # for what takes a second on an idle machine
# All text on a page, including shadow roots, without styles and scripts.
TEXT = """() => {
    const found = [];
    const walk = node => {
        if (['STYLE', 'SCRIPT', 'TEMPLATE', 'NOSCRIPT'].includes(node.nodeName)) return;
        if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) found.push(node.textContent.trim());
        if (node.shadowRoot) walk(node.shadowRoot);
        node.childNodes.forEach(walk);
    };
    if (document.body) walk(document.body);
    return found.join('\\n');
}"""


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
            _wait_for(f"{url}/data/runs", "version_", process)
            # This dashboard is loaded in the background, and has no page before.
            _wait_for(f"{url}/data/plugin/projector/runs", "version_", process)
            _wait_for(f"{url}/data/plugins_listing", '"projector": {"disable_reload": true, "enabled": true', process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, wanted: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                if wanted in answer.read().decode():
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise AssertionError(f"no {wanted} at {url}; the server's status is {process.poll()}")


def open_dashboard(page: Page, url: str, name: str) -> None:
    """Opens a dashboard by its name in the address."""
    page.goto("about:blank")  # changing only the part after `#` would not reload the page
    page.goto(f"{url}/#{name}")


def wait_until(page: Page, condition: Callable[[], bool], message: str) -> None:
    """Waits until the condition is true.

    Raises:
        AssertionError: the condition did not become true in time; with this message.
    """
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, message
        page.wait_for_timeout(200)


def wait_for_text(page: Page, wanted: Sequence[str], frame: Frame | None = None) -> str:
    """Waits until the page, or a frame of it, contains all of `wanted`; returns the whole text.

    Raises:
        AssertionError: some of it did not appear in time.
    """

    def text() -> str:
        try:
            found: str = (frame or page).evaluate(TEXT)
        except Error:  # the page is loading
            return ""
        return found

    wait_until(page, lambda: all(each in text() for each in wanted), f"not all of {wanted} is on the page")
    return text()


def filter_tags(page: Page, expression: str) -> None:
    """Shows the matching tags, in one open group."""
    page.locator("tf-tag-filterer input").first.fill(expression)


def projector_frame(page: Page) -> Frame:
    """The nested frame of the projector."""
    frame = page.frame_locator("iframe").frame_locator("iframe").owner.element_handle().content_frame()
    assert frame is not None
    return frame
