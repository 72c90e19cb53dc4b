"""The page of `export --format html` in Chromium, opened from the disk and without a connection."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, expect
from torch import Tensor

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.datasets import MNIST
from mnist_lightning.export.drawing_page import PageFormat
from mnist_lightning.export.formats import describe
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.read.preparation import prepare_digit
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.predictions import SURE_PROBABILITY
from support.browser import open_page
from support.demo_page import ONE, SEVEN, Stroke, draw, written
from support.runs import PROJECT

pytestmark = pytest.mark.browser
SHIPPED_PAGE = PROJECT / "docs" / "digits.html"
SIDE = 400  # of the canvas, in its own pixels
MAX_UPDATE_MS = 30


@contextmanager
def shown(path: Path = SHIPPED_PAGE, width: int = 1000, height: int = 800, **context: Any) -> Iterator[Page]:
    """Opens a page from the disk, offline; at the end, nothing else was requested."""
    with open_page(width, height, **context) as page:
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.context.set_offline(True)
        page.goto(path.as_uri())
        yield page
        assert requested == [path.as_uri()]


@pytest.fixture(scope="module")
def network() -> PixelNetwork:
    """The shipped model."""
    return PixelNetwork(load_classifier(PROJECT / "models" / "mnist.ckpt"))


def draw_strokes(page: Page, strokes: list[Stroke]) -> None:
    """Draws all strokes at once, in the canvas's own pixels."""
    page.evaluate("drawn => { strokes = drawn; update(); }", strokes)


def logits_of_page(page: Page, images: Tensor) -> Tensor:
    """Logits (N, 10) of images (N, 28, 28) uint8, by the page's JavaScript."""
    compute = "images => images.map((pixels) => Array.from(runNetwork(network, pixels).logits))"
    return torch.tensor(page.evaluate(compute, images.flatten(1).tolist()))


def test_the_logits_are_pytorchs(network: PixelNetwork, mnist_dir: Path) -> None:
    images = MNIST.read(mnist_dir)[1].images[:1000]
    with torch.no_grad():
        expected = network(images / 255)
    with shown() as page:
        found = logits_of_page(page, images.squeeze(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


@pytest.mark.parametrize("name", ["fully_connected", "no_batch_norm", "baseline"])
def test_the_logits_of_other_networks(name: str, tmp_path: Path) -> None:
    options: dict[str, dict[str, Any]] = {
        "fully_connected": {"head": name},
        "no_batch_norm": {"batch_norm": False},
        "baseline": {"network": name},
    }
    network = PixelNetwork(DigitClassifier(**options[name]))
    images, page_format = torch.randint(256, (3, 28, 28), dtype=torch.uint8), PageFormat()
    path = tmp_path / "digits.html"
    path.write_bytes(page_format.content(page_format.build(network, torch.rand(1, 1, 28, 28)), describe(network)))
    with torch.no_grad():
        expected = network(images.unsqueeze(1) / 255)
    with shown(path) as page:
        torch.testing.assert_close(logits_of_page(page, images), expected, rtol=0, atol=1e-3)


def test_a_drawing_is_prepared_as_read_prepares_its_picture(network: PixelNetwork) -> None:
    rng = np.random.default_rng(0)
    differences, same, correct = [], 0, 0
    with shown() as page:
        for index in range(100):
            digit = index % 10
            draw_strokes(page, written(digit, index // 10 % 3, rng, SIDE, rng.uniform(0.25, 0.8)))
            picture = page.evaluate("paper.toDataURL()").partition(",")[2]
            expected = prepare_digit(Image.open(io.BytesIO(base64.b64decode(picture))))
            found = torch.tensor(page.evaluate("Array.from(prepare(strokes, pen).pixels)")).view(28, 28)
            differences.append(float((found - expected.float()).abs().mean()))
            with torch.no_grad():
                classes = network(torch.stack([found, expected]).unsqueeze(1) / 255).argmax(dim=1).tolist()
            same += classes[0] == classes[1]
            correct += classes[0] == digit
    print(f"mean difference {np.mean(differences):.2f} of 255, same class {same}, correct {correct} of 100")
    assert np.mean(differences) < 1  # measured: 0.05; a digit that lies one pixel apart has about 20
    assert np.median(differences) < 0.1
    assert same >= 99
    assert correct >= 95


def probabilities(page: Page) -> list[float]:
    return [float(text.removesuffix(" %")) for text in page.locator(".percent").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_seven_is_read_as_seven(scheme: str) -> None:
    with shown(color_scheme=scheme) as page:
        answer = page.get_by_role("status")
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        before = page.locator("#paper").bounding_box()
        draw(page, SEVEN)
        expect(answer).to_have_text("Looks like 7")
        assert page.locator("#paper").bounding_box() == before  # it does not move under the pen
        expect(page.locator("#bars .best")).to_contain_text("7")
        found = probabilities(page)
        assert max(range(10), key=found.__getitem__) == 7
        assert sum(found) == pytest.approx(100, abs=1)
        seen = page.locator("#seen").evaluate(
            "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 == 0)"
        )
        assert max(seen) == 255
        assert 30 < sum(value > 127 for value in seen) < 200


def test_undo_and_clear() -> None:
    with shown() as page:
        answer = page.get_by_role("status")
        draw(page, ONE)
        expect(answer).to_have_text("Looks like 1")
        for way in ("button", "key"):
            draw(page, ((0.2, 0.2), (0.2, 0.8)))
            expect(answer).to_have_text("Two digits?")
            if way == "button":
                page.get_by_role("button", name="Undo").click()
            else:
                page.keyboard.press("Control+z")
            expect(answer).to_have_text("Looks like 1")
        for way in ("button", "key"):
            draw(page, SEVEN)
            if way == "button":
                page.get_by_role("button", name="Clear").click()
            else:
                page.keyboard.press("Escape")
            expect(answer).to_have_text("Draw a digit")
            assert page.evaluate("readMask(pen, 400, 400).data.every((ink) => ink === 0)")


@pytest.mark.parametrize(
    ("strokes", "text"),
    [
        ([], "Draw a digit"),
        ([[[200.0, 200.0]]], "Not a digit?"),  # a dot
        ([[[x, y] for x in range(100, 300, 15) for y in (100, 300)]], "Not a digit?"),  # scribbled full
        ([[[100.0, 100.0], [100.0, 300.0]], [[300.0, 100.0], [300.0, 300.0]]], "Two digits?"),
        ([[[200.0, 80.0], [200.0, 320.0]], [[20.0, 20.0]]], "Looks like 1"),  # with a speck
        ([[[-1.0, -1.0], [-1.0, 300.0]]], "Looks like 1"),  # along the canvas's edge
        ([[[50.0, 390.0], [50.0, 500.0], [200.0, 500.0], [200.0, 370.0], [200.0, 50.0]]], "Looks like 1"),  # and back
    ],
    ids=["nothing", "dot", "scribble", "two", "speck", "edge", "outside"],
)
def test_what_is_not_one_digit_is_said(strokes: list[Stroke], text: str) -> None:
    with shown() as page:
        draw_strokes(page, strokes)
        assert page.get_by_role("status").inner_text() == text


def test_what_is_unsure_names_two_digits() -> None:
    top = SURE_PROBABILITY - 0.01
    with shown() as page:
        verdict = f"verdict([0, 0, 0, 0, {top}, 0, 0, 0, 0, {1 - top}])"
        assert page.evaluate(verdict) == "Not sure: 4 or 9"
        assert page.evaluate(verdict.replace(str(top), str(SURE_PROBABILITY))) == "Looks like 4"


def test_the_answer_appears_while_drawing() -> None:
    with shown() as page:
        box = page.locator("#paper").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 200, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, box["y"] + 340, steps=10)
        expect(page.get_by_role("status")).to_have_text("Looks like 1")  # the mouse button is still down
        page.mouse.up()


def test_a_finger_draws_on_a_small_screen() -> None:
    with shown(width=360, height=740, has_touch=True, is_mobile=True, device_scale_factor=2) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        paper = page.locator("#paper")
        # Strokes do not scroll the page.
        assert paper.evaluate("canvas => getComputedStyle(canvas).touchAction") == "none"
        box = paper.bounding_box()
        assert box is not None
        assert box["width"] > 320
        session = page.context.new_cdp_session(page)
        for step in range(21):
            place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 40 + 10 * step}
            session.send(
                "Input.dispatchTouchEvent",
                {"type": "touchStart" if step == 0 else "touchMove", "touchPoints": [place]},
            )
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.get_by_role("status")).to_have_text("Looks like 1")


def test_each_layer_is_drawn() -> None:
    with shown() as page:
        draw(page, SEVEN)
        page.get_by_text("What each layer computes").click()
        captions = page.locator("#maps figcaption")
        expect(captions).to_have_count(8)  # six convolutions and two poolings
        assert captions.nth(0).inner_text().lower() == "convolution, relu: 10 × 28×28"
        for canvas in page.locator("#maps canvas").all():
            shades = (
                "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
            )
            assert canvas.evaluate(shades) > 10


def test_an_update_is_fast_enough_to_be_live() -> None:
    rng = np.random.default_rng(0)
    with shown() as page:
        page.evaluate("timedUpdate = () => -performance.now() + (update(), performance.now())")
        times, fastest = [], []
        for digit in range(10):
            draw_strokes(page, written(digit, 0, rng, SIDE))
            some = page.evaluate("Array.from({ length: 10 }, timedUpdate)")
            times += some
            fastest.append(min(some))  # other processes on the machine slow the others down
    print(f"median {np.median(times):.1f} ms, 95 % {np.quantile(times, 0.95):.1f} ms")
    assert np.median(fastest) < MAX_UPDATE_MS
