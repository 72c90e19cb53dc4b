"""The page of `export --format html` in Chromium, opened from the disk and without a connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect
from torch import Tensor

from mnist_lightning.classifier import SURE_PROBABILITY, DigitClassifier
from mnist_lightning.data.datasets import MNIST
from mnist_lightning.export.drawing_page import page_of
from mnist_lightning.export.pixel_network import PixelNetwork
from mnist_lightning.read.mnist_format import stroke_width
from mnist_lightning.runs.checkpoint import load_classifier
from support.browser import open_page
from support.demo_page import ONE, SEVEN, Stroke, draw, written
from support.runs import PROJECT

pytestmark = pytest.mark.browser
SHIPPED_PAGE = PROJECT / "docs" / "digits.html"
SIDE = 400  # of the canvas, in its own pixels


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


def draw_strokes(page: Page, strokes: list[Stroke]) -> str:
    """Draws all strokes at once, in the canvas's own pixels; returns the answer."""
    answer: str = page.evaluate("drawn => { strokes = drawn; update(); return answer.textContent; }", strokes)
    return answer


def logits_of_page(page: Page, images: Tensor) -> Tensor:
    """Logits (N, 10) of images (N, 28, 28) uint8, by the page's JavaScript."""
    compute = "images => images.map((pixels) => Array.from(runNetwork(network, pixels).logits))"
    return torch.tensor(page.evaluate(compute, images.flatten(1).tolist()))


# The network


def test_the_logits_are_pytorchs(mnist_dir: Path) -> None:
    images = MNIST.read(mnist_dir)[1].images[:1000]
    with torch.no_grad():
        expected = PixelNetwork(load_classifier(PROJECT / "models" / "mnist.ckpt"))(images / 255)
    with shown() as page:
        found = logits_of_page(page, images.squeeze(1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"head": "fully_connected", "pixel_mean": 0.4, "pixel_std": 0.2},
        {"batch_norm": False},
        {"network": "baseline"},
    ],
    ids=["batch_norm", "fully_connected", "no_batch_norm", "baseline"],
)
def test_the_logits_of_other_networks(settings: dict[str, Any], tmp_path: Path) -> None:
    network = PixelNetwork(DigitClassifier(**settings))
    for name, values in network.state_dict().items():  # batch norms and biases that are not their defaults
        if values.is_floating_point() and values.ndim == 1:
            values.copy_(torch.rand_like(values) + (0.5 if "var" in name or "weight" in name else 0))
    images, path = torch.randint(256, (3, 28, 28), dtype=torch.uint8), tmp_path / "digits.html"
    path.write_bytes(page_of(network, network.metadata()))
    with torch.no_grad():
        expected = network(images.unsqueeze(1) / 255)
    with shown(path) as page:
        torch.testing.assert_close(logits_of_page(page, images), expected, rtol=1e-4, atol=1e-3)


# The preparation


def test_drawn_digits_are_read_and_have_mnists_format() -> None:
    rng = np.random.default_rng(0)
    num_right, widths = 0, []
    with shown() as page:
        for index in range(100):
            digit = index % 10
            answer = draw_strokes(page, written(digit, index // 10 % 3, rng, SIDE, rng.uniform(0.25, 0.8)))
            num_right += answer == f"Looks like {digit}"
            image = np.array(page.evaluate("Array.from(prepare(strokes).pixels)"), dtype=np.uint8).reshape(28, 28)
            rows, columns = np.nonzero(image > 2)
            assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(20, abs=1)
            for places in np.indices((28, 28)):
                assert (places * image).sum() / image.sum() == pytest.approx(14, abs=0.51)
            widths.append(stroke_width(image.repeat(8, axis=0).repeat(8, axis=1) > 127) / 8)
    print(f"{num_right} of 100 right and sure, strokes of {np.mean(widths):.1f} pixels")
    assert num_right >= 96  # measured: 97
    assert 2.2 < np.mean(widths) < 3.6


def test_what_is_not_one_digit_is_said() -> None:
    cases: list[tuple[str, list[Stroke]]] = [
        ("Draw a digit", []),
        ("Not a digit?", [[[200.0, 200.0]]]),  # a dot
        ("Not a digit?", [[[x, y] for x in range(100, 300, 15) for y in (100, 300)]]),  # scribbled full
        ("Two digits?", [[[100.0, 100.0], [100.0, 300.0]], [[300.0, 100.0], [300.0, 300.0]]]),
        ("Looks like 1", [[[200.0, 80.0], [200.0, 320.0]], [[20.0, 20.0]]]),  # with a speck
        ("Looks like 1", [[[-1.0, -1.0], [-1.0, 300.0]]]),  # along the canvas's edge
        ("Looks like 1", [[[50.0, 390.0], [50.0, 500.0], [200.0, 500.0], [200.0, 370.0], [200.0, 50.0]]]),  # and back
    ]
    with shown() as page:
        assert [draw_strokes(page, strokes) for _, strokes in cases] == [text for text, _ in cases]


# The page


def test_what_is_unsure_names_two_digits() -> None:
    top = SURE_PROBABILITY - 0.01
    with shown() as page:
        verdict = f"verdict([0, 0, 0, 0, {top}, 0, 0, 0, 0, {1 - top}])"
        assert page.evaluate(verdict) == "Not sure: 4 or 9"
        assert page.evaluate(verdict.replace(str(top), str(SURE_PROBABILITY))) == "Looks like 4"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_seven_is_read_as_seven_while_it_is_drawn(scheme: str) -> None:
    with shown(color_scheme=scheme) as page:
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        before = page.locator("#paper").bounding_box()
        draw(page, SEVEN, lift=False)
        expect(page.get_by_role("status")).to_have_text("Looks like 7")
        page.mouse.up()
        assert page.locator("#paper").bounding_box() == before  # it does not move under the pen
        expect(page.locator("#bars .best")).to_contain_text("7")
        found = [float(text.removesuffix(" %")) for text in page.locator(".percent").all_inner_texts()]
        assert max(range(10), key=found.__getitem__) == 7
        assert sum(found) == pytest.approx(100, abs=1)


def test_undo_and_clear() -> None:
    with shown() as page:
        answer = page.get_by_role("status")
        draw(page, ONE)
        draw(page, ((0.2, 0.2), (0.2, 0.8)))
        expect(answer).to_have_text("Two digits?")
        page.get_by_role("button", name="Undo").click()
        expect(answer).to_have_text("Looks like 1")
        page.get_by_role("button", name="Clear").click()
        expect(answer).to_have_text("Draw a digit")
        assert page.evaluate("pen.getImageData(0, 0, 400, 400).data.every((value) => value === 0)")


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
            touch = {"type": "touchStart" if step == 0 else "touchMove", "touchPoints": [place]}
            session.send("Input.dispatchTouchEvent", touch)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(page.get_by_role("status")).to_have_text("Looks like 1")


def test_each_layer_is_drawn() -> None:
    shades = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    with shown() as page:
        draw(page, SEVEN)
        page.get_by_text("What each layer computes").click()
        captions = page.locator("#maps figcaption")
        expect(captions).to_have_count(8)  # six convolutions and two poolings
        assert captions.nth(0).inner_text().lower() == "convolution, relu: 10 × 28×28"
        for canvas in page.locator("#maps canvas").all():
            assert canvas.evaluate(shades) > 10
