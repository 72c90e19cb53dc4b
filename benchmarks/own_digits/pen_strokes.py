"""Digits drawn with pens: the ways people write each digit, as strokes that wobble, slant and vary in width."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float64]

# Three ways of writing each digit: the pen's path as points x,y in percent of the digit's height, y downwards.
# A slash starts a new stroke, or makes a corner.
WAYS = {
    0: (
        "35,0 10,15 0,50 12,87 33,100 55,85 65,50 53,13 35,0",
        "45,6 30,0 6,25 2,65 20,97 45,90 60,50 50,10 30,10",
        "20,3 4,30 6,80 25,100 46,75 46,25 30,0 17,6",
    ),
    1: (
        "20,0 20,50 20,100",
        "0,30 15,17 30,0 / 30,0 30,50 29,100",
        "2,20 14,14 26,0 / 26,0 25,100 / 0,100 25,99 50,100",
    ),
    2: (
        "0,22 12,4 35,0 55,15 50,40 25,70 0,100 / 0,100 30,98 62,100",
        "3,18 25,0 50,10 50,35 30,70 10,95 0,88 10,80 35,93 65,95",
        "5,10 30,0 52,12 45,45 2,97 / 2,97 30,93 55,100",
    ),
    3: (
        "3,10 28,0 52,15 45,40 22,47 / 22,47 50,55 60,76 40,98 15,98 0,88",
        "0,2 55,0 / 55,0 25,40 / 25,40 52,50 58,75 35,100 0,92",
        "5,12 30,0 50,17 35,42 20,47 25,52 35,45 55,60 50,90 25,100 0,85",
    ),
    4: (
        "12,0 8,30 2,58 / 2,58 35,58 65,56 / 47,25 46,100",
        "50,0 25,33 0,65 / 0,65 68,65 / 50,0 50,100",
        "10,2 3,40 15,55 35,52 52,45 / 55,3 52,50 50,100",
    ),
    5: (
        "12,0 8,42 / 8,42 35,37 58,60 48,92 22,100 0,90 / 12,0 56,2",
        "58,0 10,3 / 10,3 5,45 / 5,45 35,40 60,68 40,97 2,95",
        "10,5 10,40 / 10,40 40,42 55,70 35,100 0,92 / 17,0 55,3",
    ),
    6: (
        "50,0 20,25 2,65 15,95 40,100 58,80 47,58 25,57 5,74",
        "40,2 12,20 1,55 10,92 35,99 53,75 35,53 8,70",
        "30,0 10,40 2,75 20,100 45,90 45,67 22,63 5,80",
    ),
    7: (
        "0,3 30,2 60,0 / 60,0 38,45 20,100",
        "0,4 58,0 / 58,0 35,50 25,100 / 15,50 55,46",
        "0,15 3,2 / 3,2 55,4 / 55,4 30,40 23,100",
    ),
    8: (
        "54,13 30,0 6,15 20,42 50,62 58,84 32,100 4,84 14,60 44,40 57,20 50,9",
        "30,0 8,10 10,35 30,45 50,33 50,10 30,0 / 30,45 3,60 5,90 30,100 56,90 56,60 30,45",
        "50,5 20,2 5,20 25,42 48,65 42,95 15,98 3,75 25,48 50,25 55,2",
    ),
    9: (
        "55,17 30,0 5,18 13,45 40,45 56,20 / 56,12 55,50 50,100",
        "52,12 25,0 3,25 20,48 45,38 55,12 54,60 35,100 8,93",
        "45,10 20,2 3,25 20,43 45,30 / 48,3 43,50 25,100",
    ),
}


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
    """Draws a digit as a grey image: ink 255, paper 0, cropped.

    Args:
        digit: 0..9.
        way: the way of writing, 0..2.
        pen: the pen.
        height: approximate height in pixels.
        rng: for wobble, slant, proportions and width.
    """
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
    box = image.getbbox()
    assert box is not None
    return image.crop(box)


def _smooth(points: Floats, num_between: int = 60) -> Floats:
    """Points (N, 2) along the Catmull-Rom spline through points (P, 2)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, num_between)[:, None]
    pieces = []
    for before, start, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(
            0.5
            * (
                2 * start
                + (end - before) * t
                + (2 * before - 5 * start + 4 * end - after) * t**2
                + (3 * start - before - 3 * end + after) * t**3
            )
        )
    return np.concatenate(pieces)
