"""Digits drawn with pens: the ways people write each digit, as strokes that wobble, slant and vary in width."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float64]

# Three ways of writing each digit, a line each: the pen's path as points x,y in percent of the digit's height, y
# downwards. A slash starts a new stroke, or makes a corner.
_LINES = Path(__file__).with_name("strokes.txt").read_text(encoding="utf-8").splitlines()
WAYS = {digit: _LINES[3 * digit : 3 * digit + 3] for digit in range(10)}


class Pen(NamedTuple):
    """Properties of a pen's line."""

    width: float  # mean over samples, as a fraction of the digit's height
    swing: float  # change of the width along a stroke, as a fraction of the width
    wobble: float  # standard deviation of the points, as a fraction of the digit's height


# For digits about 15 mm high: 0.4 mm for a fineliner, 2.5 mm for a marker.
PENS = {
    "fineliner": Pen(width=0.03, swing=0.1, wobble=0.015),
    "felt-tip": Pen(width=0.09, swing=0.15, wobble=0.02),
    "ballpoint": Pen(width=0.035, swing=0.25, wobble=0.02),
    "marker": Pen(width=0.16, swing=0.1, wobble=0.015),
    "brush": Pen(width=0.11, swing=0.6, wobble=0.025),
}


def draw_digit(digit: int, way: int, pen: Pen, height: int, rng: np.random.Generator) -> Image.Image:
    """A grey image of a digit, ink 255 on 0, cropped: in one of three ways, some `height` pixels high."""
    size = round(1.6 * height)
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    slant, stretch = rng.normal(0.12, 0.12), rng.uniform(0.85, 1.25)
    width = pen.width * height * rng.uniform(0.75, 1.3)
    phase = rng.uniform(0, 2 * np.pi)
    for stroke in WAYS[digit][way].split("/"):
        points = np.array([[int(number) / 100 for number in point.split(",")] for point in stroke.split()])
        points = points + rng.normal(0, pen.wobble, points.shape)
        line = _smooth(points)
        x = (line[:, 0] * stretch - line[:, 1] * slant) * height + 0.45 * height
        y = line[:, 1] * height + 0.25 * height
        angles = phase + np.linspace(0, 2 * np.pi, len(line))
        radii = np.maximum(0.5, width / 2 * (1 + pen.swing * np.sin(angles)))
        for cx, cy, radius in zip(x, y, radii, strict=True):
            draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=255)
    return image.crop(image.getbbox())


def _smooth(points: Floats, num_between: int = 60) -> Floats:
    """Points (N, 2) along the Catmull-Rom spline through points (P, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, num_between)[:, None]
    before, start, end, after = (
        padded[number : len(padded) - 3 + number, None] for number in range(4)
    )  # (P - 1, 1, 2)
    curve: Floats = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return curve.reshape(-1, 2)
