"""`python -m benchmarks.own_digits.examples`: draws the pictures in `examples/`, reproducibly."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.own_digits.pen_strokes import PENS, draw_digit
from benchmarks.own_digits.photographs import photograph
from benchmarks.own_digits.surroundings import Change, circled
from mnist_lightning.files import atomic_write

FOLDER = Path(__file__).parents[2] / "examples"


def pictures() -> dict[str, Image.Image]:
    """The pictures by file name."""
    return {
        "seven.jpg": _photographed(7, "ballpoint", light_on_dark=False, seed=3),
        "blackboard.jpg": _photographed(3, "brush", light_on_dark=True, seed=1),
        "circled.jpg": _photographed(2, "felt-tip", light_on_dark=False, seed=7, change=circled),
        "drawing.png": _drawn(5),
        "letter.png": _letter(),
        "paper.jpg": photograph(None, light_on_dark=False, rng=np.random.default_rng(5)),
    }


def _photographed(digit: int, pen: str, light_on_dark: bool, seed: int, change: Change | None = None) -> Image.Image:
    rng = np.random.default_rng(seed)
    strokes = draw_digit(digit, 1, PENS[pen], 400, rng)
    return photograph(change(strokes, rng) if change else strokes, light_on_dark, rng)


def _letter() -> Image.Image:
    """A K, which is no digit."""
    image = Image.new("L", (300, 300), 255)
    draw = ImageDraw.Draw(image)
    for line in ((100, 50, 100, 250), (195, 50, 105, 155), (130, 130, 205, 250)):
        draw.line(line, fill=0, width=14)
    return image


def _drawn(digit: int) -> Image.Image:
    """White on a transparent background, like an export of a drawing program."""
    ink = draw_digit(digit, 1, PENS["marker"], 200, np.random.default_rng(0))
    image = Image.new("RGBA", (360, 300), (0, 0, 0, 0))
    image.paste(Image.new("RGBA", ink.size, "white"), (120, 50), ink)
    ImageDraw.Draw(image).line((20, 20, 24, 22), fill="white")  # a speck
    return image


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        content = io.BytesIO()
        picture.save(content, Image.registered_extensions()[Path(name).suffix], quality=80)  # PNG ignores quality
        atomic_write(FOLDER / name, content.getvalue())
