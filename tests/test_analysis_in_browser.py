"""A run's page in Chromium: it shows completely, from the file only, and on a phone."""

from typing import Literal

import pytest

from mnist_lightning.main import main
from mnist_lightning.report import evaluation
from support.browser import open_page
from support.runs import Fit

pytestmark = pytest.mark.browser

PHONE_WIDTH = 390
NUM_FIGURES = 5
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def test_the_page_needs_only_its_file(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "ROTATIONS_DEGREES", (-30, 0, 30))  # only the layout matters here
    folder = fit()
    main(["report", str(folder)])
    address = (folder / "report.html").as_uri()
    with open_page(width=PHONE_WIDTH) as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
        assert len(widths) == NUM_FIGURES
        assert all(width > 0 for width in widths)
        for summary in page.locator("summary").all():
            summary.click()  # wide tables scroll
        assert page.locator("table").last.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
        assert [url for url in requests if not url.startswith("data:")] == [address]
        colours = set()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            colours.add(page.evaluate("getComputedStyle(document.body).color"))
        assert len(colours) == len(SCHEMES), "the text's colour follows the reader's scheme"
