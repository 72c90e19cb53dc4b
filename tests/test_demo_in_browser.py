"""The demo's page in Chromium, with real pointer events."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from support.browser import open_page
from support.demo_page import ONE, SEVEN, draw, served, show


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as address:
        yield address


def probabilities(page: Page) -> list[float]:
    return [float(text.removesuffix(" %")) for text in page.locator(".bars output").all_inner_texts()]


@pytest.mark.browser
def test_a_seven_is_read_as_seven(url: str) -> None:
    with open_page() as page:
        show(page, url)
        answer = page.locator(".answer")
        draw(page, SEVEN)
        expect(answer).to_have_text("This is a 7.")
        expect(page.locator(".bars .best")).to_contain_text("7")
        found = probabilities(page)
        assert max(range(10), key=found.__getitem__) == 7
        assert sum(found) == pytest.approx(100, abs=1)
        meters = page.locator(".bars meter").evaluate_all("meters => meters.map(meter => meter.value)")
        assert meters[7] == max(meters) > 0.5
        seen = page.locator("canvas.prepared").evaluate(
            "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 == 0)"
        )
        assert len(seen) == 28 * 28
        assert max(seen) == 255
        assert 30 < sum(value > 127 for value in seen) < 200

        page.get_by_role("button", name="Clear").click()
        assert answer.inner_text().strip() == ""
        draw(page, ONE)
        expect(answer).to_have_text("This is a 1.")


@pytest.mark.browser
def test_the_answer_appears_while_drawing(url: str) -> None:
    with open_page() as page:
        show(page, url)
        box = page.locator("canvas.paper").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 140, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 140, box["y"] + 240, steps=10)
        expect(page.locator(".answer")).to_have_text("This is a 1.")  # the mouse button is still down
        page.mouse.up()


@pytest.mark.browser
def test_a_finger_draws_on_a_small_screen(url: str) -> None:
    with open_page(390, 800) as page:
        show(page, url)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        paper = page.locator("canvas.paper")
        assert (
            paper.evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"
        )  # strokes do not scroll the page
        box = paper.bounding_box()
        assert box is not None
        session = page.context.new_cdp_session(page)
        steps = 20
        for step in range(steps + 1):
            place = {"x": box["x"] + 140, "y": box["y"] + 40 + 200 * step / steps}
            session.send(
                "Input.dispatchTouchEvent",
                {"type": "touchStart" if step == 0 else "touchMove", "touchPoints": [place]},
            )
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.locator(".answer")).to_have_text("This is a 1.")


@pytest.mark.browser
def test_only_this_machine_is_served(url: str) -> None:
    port = int(url.rpartition(":")[2])
    listening = [
        address
        for table in ("tcp", "tcp6")
        for address, its_port in (
            line.split()[1].split(":") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        )
        if int(its_port, 16) == port
    ]
    assert set(listening) == {"0100007F"}  # 127.0.0.1, its bytes from the last to the first
