"""A TensorBoard server over some runs, and its pages in a browser that reaches nothing else."""

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import processes
from playwright.sync_api import Frame, Page, Route, sync_playwright

TIMEOUT_MS = 120_000  # of what takes a second on a machine that is left alone
CHROMIUM_ARGS = (
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run",),
)
# All that is written on a page, in shadow roots too, but not what a style or script consists of.
TEXT = """() => {
    const found = [];
    const walk = node => {
        if (['STYLE', 'SCRIPT', 'TEMPLATE', 'NOSCRIPT'].includes(node.nodeName)) return;
        if (node.nodeType === Node.TEXT_NODE && node.textContent.trim()) found.push(node.textContent.trim());
        if (node.shadowRoot) walk(node.shadowRoot);
        node.childNodes.forEach(walk);
    };
    walk(document.body);
    return found.join('\\n');
}"""


def chromium() -> str | None:
    """Where Debian's Chromium is; None where it is not installed."""
    return shutil.which("chromium")


@contextmanager
def server(logdir: Path) -> Iterator[str]:
    """Serves the runs under `logdir` until the block ends; gives the address, once all of them are found."""
    port = processes.free_port()
    # Relative: the pages show what was given.
    args = ["--logdir", logdir.name, "--host", "localhost", "--port", str(port)]
    executable = str(Path(sys.executable).parent / "tensorboard")
    url = f"http://localhost:{port}"
    with subprocess.Popen(
        [executable, *args], cwd=logdir.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(f"{url}/data/runs", "version_", process)
            # This dashboard is looked for on the side, and has no page before.
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


@contextmanager
def browser_page(width: int = 1400, height: int = 900) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the list of what it says of its own faults; what it asks of other machines is refused."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(TIMEOUT_MS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))

        def answer(route: Route) -> None:
            is_here = urlsplit(route.request.url).hostname in ("localhost", None)
            route.continue_() if is_here else route.abort()

        page.route("**/*", answer)
        try:
            yield page, faults
        finally:
            browser.close()


def open_dashboard(page: Page, url: str, name: str) -> None:
    """Opens a dashboard by its name in the address, from the beginning."""
    page.goto("about:blank")  # another name after the `#` alone loads nothing
    page.goto(f"{url}/#{name}")


def wait_until(page: Page, condition: Callable[[], bool], otherwise: str) -> None:
    """Waits while the page goes on.

    Raises:
        AssertionError: the condition does not become true; says what is `otherwise`.
    """
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not condition():
        assert time.monotonic() < deadline, otherwise
        page.wait_for_timeout(200)


def wait_for_text(page: Page, wanted: Sequence[str], frame: Frame | None = None) -> str:
    """Waits until all of `wanted` is written on the page, or in a frame of it; returns all that is.

    Raises:
        AssertionError: some of it does not come.
    """

    def text() -> str:
        found: str = (frame or page).evaluate(TEXT)
        return found

    wait_until(page, lambda: all(each in text() for each in wanted), f"not all of {wanted} is on the page")
    return text()


def filter_tags(page: Page, expression: str) -> None:
    """Shows the tags that match, all in one group that is open."""
    page.locator("tf-tag-filterer input").first.fill(expression)


def projector_frame(page: Page) -> Frame:
    """The frame within a frame that the projector draws in."""
    frame = page.frame_locator("iframe").frame_locator("iframe").owner.element_handle().content_frame()
    assert frame is not None
    return frame
