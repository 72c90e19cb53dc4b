"""Digits drawn with pens: the ways people write each digit, as strokes that wobble, slant and vary in width."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float64]
Stroke = list[tuple[float, float]]

# Each digit in three ways; each way is strokes, and a stroke the points that the pen passes through, in units of the
# digit's height with y downwards. Points are drawn by hand; a corner is where one stroke ends and the next begins.
WAYS: dict[int, tuple[list[Stroke], ...]] = {
    0: (
        [[(0.35, 0), (0.1, 0.15), (0, 0.5), (0.12, 0.87), (0.33, 1), (0.55, 0.85), (0.65, 0.5), (0.53, 0.13), (0.35, 0)]],
        [[(0.45, 0.06), (0.3, 0), (0.06, 0.25), (0.02, 0.65), (0.2, 0.97), (0.45, 0.9), (0.6, 0.5), (0.5, 0.1), (0.3, 0.1)]],
        [[(0.2, 0.03), (0.04, 0.3), (0.06, 0.8), (0.25, 1), (0.46, 0.75), (0.46, 0.25), (0.3, 0), (0.17, 0.06)]],
    ),
    1: (
        [[(0.2, 0), (0.2, 0.5), (0.2, 1)]],
        [[(0, 0.3), (0.15, 0.17), (0.3, 0)], [(0.3, 0), (0.3, 0.5), (0.29, 1)]],
        [[(0.02, 0.2), (0.14, 0.14), (0.26, 0)], [(0.26, 0), (0.25, 1)], [(0, 1), (0.25, 0.99), (0.5, 1)]],
    ),
    2: (
        [[(0, 0.22), (0.12, 0.04), (0.35, 0), (0.55, 0.15), (0.5, 0.4), (0.25, 0.7), (0, 1)], [(0, 1), (0.3, 0.98), (0.62, 1)]],
        [
            [
                *((0.03, 0.18), (0.25, 0), (0.5, 0.1), (0.5, 0.35), (0.3, 0.7), (0.1, 0.95), (0, 0.88), (0.1, 0.8)),
                *((0.35, 0.93), (0.65, 0.95)),
            ]
        ],
        [[(0.05, 0.1), (0.3, 0), (0.52, 0.12), (0.45, 0.45), (0.02, 0.97)], [(0.02, 0.97), (0.3, 0.93), (0.55, 1)]],
    ),
    3: (
        [
            [(0.03, 0.1), (0.28, 0), (0.52, 0.15), (0.45, 0.4), (0.22, 0.47)],
            [(0.22, 0.47), (0.5, 0.55), (0.6, 0.76), (0.4, 0.98), (0.15, 0.98), (0, 0.88)],
        ],
        [[(0, 0.02), (0.55, 0)], [(0.55, 0), (0.25, 0.4)], [(0.25, 0.4), (0.52, 0.5), (0.58, 0.75), (0.35, 1), (0, 0.92)]],
        [
            [
                *((0.05, 0.12), (0.3, 0), (0.5, 0.17), (0.35, 0.42), (0.2, 0.47), (0.25, 0.52), (0.35, 0.45)),
                *((0.55, 0.6), (0.5, 0.9), (0.25, 1), (0, 0.85)),
            ]
        ],
    ),
    4: (
        [[(0.12, 0), (0.08, 0.3), (0.02, 0.58)], [(0.02, 0.58), (0.35, 0.58), (0.65, 0.56)], [(0.47, 0.25), (0.46, 1)]],
        [[(0.5, 0), (0.25, 0.33), (0, 0.65)], [(0, 0.65), (0.68, 0.65)], [(0.5, 0), (0.5, 1)]],
        [[(0.1, 0.02), (0.03, 0.4), (0.15, 0.55), (0.35, 0.52), (0.52, 0.45)], [(0.55, 0.03), (0.52, 0.5), (0.5, 1)]],
    ),
    5: (
        [[(0.12, 0), (0.08, 0.42)], [(0.08, 0.42), (0.35, 0.37), (0.58, 0.6), (0.48, 0.92), (0.22, 1), (0, 0.9)], [(0.12, 0), (0.56, 0.02)]],
        [[(0.58, 0), (0.1, 0.03)], [(0.1, 0.03), (0.05, 0.45)], [(0.05, 0.45), (0.35, 0.4), (0.6, 0.68), (0.4, 0.97), (0.02, 0.95)]],
        [[(0.1, 0.05), (0.1, 0.4)], [(0.1, 0.4), (0.4, 0.42), (0.55, 0.7), (0.35, 1), (0, 0.92)], [(0.17, 0), (0.55, 0.03)]],
    ),
    6: (
        [[(0.5, 0), (0.2, 0.25), (0.02, 0.65), (0.15, 0.95), (0.4, 1), (0.58, 0.8), (0.47, 0.58), (0.25, 0.57), (0.05, 0.74)]],
        [[(0.4, 0.02), (0.12, 0.2), (0.01, 0.55), (0.1, 0.92), (0.35, 0.99), (0.53, 0.75), (0.35, 0.53), (0.08, 0.7)]],
        [[(0.3, 0), (0.1, 0.4), (0.02, 0.75), (0.2, 1), (0.45, 0.9), (0.45, 0.67), (0.22, 0.63), (0.05, 0.8)]],
    ),
    7: (
        [[(0, 0.03), (0.3, 0.02), (0.6, 0)], [(0.6, 0), (0.38, 0.45), (0.2, 1)]],
        [[(0, 0.04), (0.58, 0)], [(0.58, 0), (0.35, 0.5), (0.25, 1)], [(0.15, 0.5), (0.55, 0.46)]],
        [[(0, 0.15), (0.03, 0.02)], [(0.03, 0.02), (0.55, 0.04)], [(0.55, 0.04), (0.3, 0.4), (0.23, 1)]],
    ),
    8: (
        [
            [
                *((0.54, 0.13), (0.3, 0), (0.06, 0.15), (0.2, 0.42), (0.5, 0.62), (0.58, 0.84), (0.32, 1), (0.04, 0.84)),
                *((0.14, 0.6), (0.44, 0.4), (0.57, 0.2), (0.5, 0.09)),
            ]
        ],
        [
            [(0.3, 0), (0.08, 0.1), (0.1, 0.35), (0.3, 0.45), (0.5, 0.33), (0.5, 0.1), (0.3, 0)],
            [(0.3, 0.45), (0.03, 0.6), (0.05, 0.9), (0.3, 1), (0.56, 0.9), (0.56, 0.6), (0.3, 0.45)],
        ],
        [
            [
                *((0.5, 0.05), (0.2, 0.02), (0.05, 0.2), (0.25, 0.42), (0.48, 0.65), (0.42, 0.95), (0.15, 0.98)),
                *((0.03, 0.75), (0.25, 0.48), (0.5, 0.25), (0.55, 0.02)),
            ]
        ],
    ),
    9: (
        [[(0.55, 0.17), (0.3, 0), (0.05, 0.18), (0.13, 0.45), (0.4, 0.45), (0.56, 0.2)], [(0.56, 0.12), (0.55, 0.5), (0.5, 1)]],
        [[(0.52, 0.12), (0.25, 0), (0.03, 0.25), (0.2, 0.48), (0.45, 0.38), (0.55, 0.12), (0.54, 0.6), (0.35, 1), (0.08, 0.93)]],
        [[(0.45, 0.1), (0.2, 0.02), (0.03, 0.25), (0.2, 0.43), (0.45, 0.3)], [(0.48, 0.03), (0.43, 0.5), (0.25, 1)]],
    ),
}  # fmt: skip


class Pen(NamedTuple):
    """What a pen's line is like."""

    width: float  # of the line, mean over samples, as a fraction of the digit's height
    swing: float  # how much the width changes along a stroke, as a fraction of it
    wobble: float  # standard deviation of the points, as a fraction of the digit's height


# Widths as measured with a ruler in handwriting of 15 mm: 0.4 mm for a fineliner, 2.5 mm for a marker.
PENS = {
    "fineliner": Pen(width=0.03, swing=0.1, wobble=0.015),
    "felt-tip": Pen(width=0.09, swing=0.15, wobble=0.02),
    "ballpoint": Pen(width=0.035, swing=0.25, wobble=0.02),
    "marker": Pen(width=0.16, swing=0.1, wobble=0.015),
    "brush": Pen(width=0.11, swing=0.6, wobble=0.025),
}


def draw_digit(digit: int, way: int, pen: Pen, height: int, rng: np.random.Generator) -> Image.Image:
    """A digit as grey image: ink 255, paper 0, cut to its box with a small margin.

    Args:
        digit: 0..9.
        way: which of its ways of writing, 0..2.
        pen: the pen.
        height: in pixels, without the margin.
        rng: decides wobble, slant, proportions and width.
    """
    size = round(1.6 * height)
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    slant, stretch = rng.normal(0.12, 0.12), rng.uniform(0.85, 1.25)
    width = pen.width * height * rng.uniform(0.75, 1.3)
    phase = rng.uniform(0, 2 * np.pi)
    for stroke in WAYS[digit][way]:
        points = np.array(stroke) + rng.normal(0, pen.wobble, (len(stroke), 2))
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
