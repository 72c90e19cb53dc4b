"""Chromium, from Debian's package, for what is shown in a browser."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright

# As root, without a sandbox; and none of the connections that the browser makes for itself.
OPTIONS = [
    *("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
]


@contextmanager
def open_page(width: int = 1000, height: int = 800, may_ask_outside: bool = False) -> Iterator[Page]:
    """A page that reaches this machine alone.

    Args:
        width: of the window, in pixels.
        height: likewise.
        may_ask_outside: Whether the page is another's, and may ask other machines: it is refused, and no more.

    Raises:
        AssertionError: Chromium is not installed, or, at the end, an error has occurred in the page, or it has asked
            for something of another machine.
    """
    chromium = shutil.which("chromium")
    assert chromium, "Chromium is not installed: on Debian, apt-get install chromium"
    outside: list[str] = []
    errors: list[str] = []

    def route(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "http://localhost:", "file:", "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not may_ask_outside:  # what is refused is an error too
            errors.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.route("**/*", route)
            page.on("console", listen)
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
        finally:
            browser.close()
    assert errors == []
    assert may_ask_outside or outside == []
