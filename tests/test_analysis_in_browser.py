"""A run's page in Chromium: all of it shows, from the file alone, on a phone too."""

import shutil
from pathlib import Path
from typing import Literal

import pytest
from conftest import Fit

from mnist_lightning.analysis import evaluation
from mnist_lightning.cli import main

pytestmark = pytest.mark.browser

PHONE_WIDTH = 390
NUM_FIGURES = 5
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture
def chromium() -> str:
    """Debian's Chromium, or the reason to skip."""
    pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return path


@pytest.fixture
def report_page(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evaluation, "ROTATIONS_DEGREES", (-30, 0, 30))  # the page's form is the point
    folder = fit()
    main(["report", str(folder)])
    return folder / "report.html"


def test_the_page_shows_from_the_file_alone(report_page: Path, chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        # No scripts, as where a reader has none; the test's own still run.
        context = browser.new_context(
            viewport={"width": PHONE_WIDTH, "height": 800}, offline=True, java_script_enabled=False
        )
        page = context.new_page()
        requests: list[str] = []
        messages: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(report_page.as_uri())
        page.locator("img").last.scroll_into_view_if_needed()
        widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
        assert len(widths) == NUM_FIGURES
        assert all(width > 0 for width in widths)
        for summary in page.locator("summary").all():
            summary.click()  # the tables scroll within themselves
        assert page.locator("table").last.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
        assert messages == []
        assert [url for url in requests if not url.startswith("data:")] == [report_page.as_uri()]
        colours = set()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            colours.add(page.evaluate("getComputedStyle(document.body).color"))
        assert len(colours) == len(SCHEMES), "the text's colour follows the reader's scheme"
        browser.close()
