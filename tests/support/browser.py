"""Opens pages in Chromium, from Debian's package."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright

# No sandbox, because tests may run as root; and no background connections.
OPTIONS = [
    *("--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
]


@contextmanager
def open_page(
    width: int = 1000, height: int = 800, allow_outside_requests: bool = False, **context: Any
) -> Iterator[Page]:
    """Opens a page that can reach this machine only.

    Args:
        width: width of the window, in pixels.
        height: height of the window, in pixels.
        allow_outside_requests: block requests to other machines without failing, for pages of other projects.
        context: further properties of the browser's context, such as its colour scheme.

    Raises:
        AssertionError: Chromium is not installed; or, at the end, the page had an error or requested another machine.
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
        if message.type == "error" and not allow_outside_requests:  # blocked requests are errors too
            errors.append(message.text)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, **context)
            page.route("**/*", route)
            page.on("console", listen)
            page.on("pageerror", lambda error: errors.append(str(error)))
            yield page
        finally:
            browser.close()
    assert errors == []
    assert allow_outside_requests or outside == []
