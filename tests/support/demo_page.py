"""Strokes on the page of `demo`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.own_digits.pen_strokes import WAYS, _smooth

if TYPE_CHECKING:
    from playwright.sync_api import Page

SEVEN = ((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))  # points of a line, as fractions of the canvas
ONE = ((0.5, 0.15), (0.5, 0.85))

Stroke = list[list[float]]  # points [x, y]


def written(digit: int, way: int, rng: np.random.Generator, side: float = 1, height: float = 0.7) -> list[Stroke]:
    """A digit as someone may write it on a canvas.

    Args:
        digit: 0..9.
        way: the way of writing, 0..2.
        rng: for wobble, slant, proportions and place.
        side: side of the canvas.
        height: height of the digit, as a fraction of the side.
    """
    slant, stretch = rng.normal(0.12, 0.12), rng.uniform(0.85, 1.25)
    left, top = rng.uniform(0.05, 0.95 - height, 2)
    strokes = []
    for text in WAYS[digit][way].split("/"):
        points = np.array([[int(number) / 100 for number in point.split(",")] for point in text.split()])
        x, y = _smooth(points + rng.normal(0, 0.02, points.shape), 8).T
        x, y = (x * stretch - y * slant + 0.2) * height + left, y * height + top
        strokes.append((side * np.stack([x, y], axis=1)).tolist())
    return strokes


def draw(page: "Page", points: Sequence[Sequence[float]], lift: bool = True) -> None:
    """Draws a line through the points with the mouse, and lifts its button unless `lift` is false."""
    box = page.locator("#paper").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=10)
    if lift:
        page.mouse.up()
