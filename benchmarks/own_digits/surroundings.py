"""What people put around a digit, or do to it: a form's box, an underline, a circle, a dot, an outline, a tilt."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def boxed(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """In the box of a form, with space on each side."""
    space = [round(side) for side in digit.height * rng.uniform(0.12, 0.5, 4)]
    image, width = ImageOps.expand(digit, max(space) + 40), _line_width(digit, rng)
    left, top, right, bottom = _box_around(image, space)
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), outline=255, width=width)
    return image.crop(image.getbbox())


def underlined(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Above a line, or two; some lines almost touch the digit."""
    image, width = ImageOps.expand(digit, digit.height), _line_width(digit, rng)
    left, _, right, bottom = _box_around(image, [0, 0, 0, 0])
    y = bottom + width + rng.uniform(0.02, 0.25) * digit.height
    for _ in range(1 + int(rng.random() < 0.2)):
        ends = [left - rng.uniform(0, 0.4) * digit.height, right + rng.uniform(0, 0.4) * digit.height]
        heights = y + rng.uniform(-0.02, 0.02, 2) * digit.height
        ImageDraw.Draw(image).line((ends[0], heights[0], ends[1], heights[1]), fill=255, width=width)
        y += width + rng.uniform(0.08, 0.15) * digit.height
    return image.crop(image.getbbox())


def circled(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """In a circle drawn by hand, with space on each side."""
    image, width = ImageOps.expand(digit, 2 * digit.height), _line_width(digit, rng)
    draw, angles = ImageDraw.Draw(image), np.linspace(0, 2 * np.pi, 400)
    radius = np.hypot(*digit.size) / 2 * rng.uniform(1.15, 1.6)
    wave = 1 + rng.uniform(0, 0.04) * np.sin(2 * angles + rng.uniform(0, 6)) * np.sin(angles / 2)
    stretch = rng.uniform(0.9, 1.15)
    for x, y in zip(radius * stretch * wave * np.cos(angles), radius / stretch * wave * np.sin(angles), strict=True):
        x, y = x + image.width / 2, y + image.height / 2
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return image.crop(image.getbbox())


def dotted(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """With a full stop, as in a list."""
    image = ImageOps.expand(digit, digit.height)
    _, _, right, bottom = _box_around(image, [0, 0, 0, 0])
    x, radius = right + rng.uniform(0.1, 0.25) * digit.height, rng.uniform(0.03, 0.07) * digit.height
    ImageDraw.Draw(image).ellipse((x - radius, bottom - 2 * radius, x + radius, bottom), fill=255)
    return image.crop(image.getbbox())


def hollow(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Its outline only."""
    paper = np.pad(np.asarray(digit) < 128, 40, constant_values=True)
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(paper)
    width = rng.uniform(0.012, 0.03) * digit.height
    # Outside of the strokes, so that hairlines stay open.
    outline = (distance > 0) & (distance <= width)
    image = Image.fromarray((255 * outline).astype(np.uint8))
    return image.crop(image.getbbox())


def tilted(digit: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By 20° to either side; photographs add up to 8°."""
    image = digit.rotate(20 * rng.choice([-1, 1]), Image.Resampling.BICUBIC, expand=True)
    return image.crop(image.getbbox())


def _box_around(image: Image.Image, space: list[int]) -> tuple[int, int, int, int]:
    """The box of the ink plus space at the left, top, right and bottom."""
    box = image.getbbox()
    assert box is not None
    return box[0] - space[0], box[1] - space[1], box[2] + space[2], box[3] + space[3]


def _line_width(digit: Image.Image, rng: np.random.Generator) -> int:
    return round(rng.uniform(0.015, 0.05) * digit.height)
