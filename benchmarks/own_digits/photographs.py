"""Synthetic photographs: a digit on paper with uneven light, shadows, noise, blur and JPEG artefacts."""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

Floats = NDArray[np.float64]


class Setting(NamedTuple):
    """How a picture is taken."""

    size: tuple[int, int] | None = None  # width and height in pixels; None: 250 to 899 each
    room: tuple[float, float] = (0.3, 0.8)  # fraction of the picture that the digit fills, from and to
    tight: bool = False  # crops the picture to the digit, on each side at its edge or up to 3 % from it
    squared: bool = False  # squared paper, more visible than the ruled lines that a fifth of all pictures have
    strength: tuple[float, float] = (1, 1)  # contrast of the ink, from and to, as a fraction of the usual one


USUAL = Setting()


def photograph(
    digit: Image.Image | None, light_on_dark: bool, rng: np.random.Generator, setting: Setting = USUAL
) -> Image.Image:
    """An RGB photograph of a digit: grey, ink 255 on 0, cropped; or of empty paper.

    Args:
        digit: the digit; None leaves the paper empty.
        light_on_dark: chalk on a board instead of ink on paper.
        rng: for all other properties.
        setting: how the picture is taken.
    """
    width, height = setting.size or (int(rng.integers(250, 900)) for _ in range(2))
    ink = np.zeros((height, width)) if digit is None else _placed(digit, width, height, setting, rng)
    ink = ink * rng.uniform(*setting.strength) if setting.strength != USUAL.strength else ink
    height, width = ink.shape
    paper, colour = _colours(light_on_dark, rng)
    y, x = np.mgrid[:height, :width] / max(width, height)
    picture = np.broadcast_to(paper, (height, width, 3)) + rng.normal(0, 2, (height, width, 1))  # the paper's grain
    if rng.random() < 0.2 or setting.squared:
        strength = rng.uniform(0.35, 0.6) if setting.squared else 0.35
        picture = picture + (colour - paper) * strength * _rules(x, y, setting.squared, rng)[..., None]
    picture = picture + (colour - picture) * ink[..., None]
    picture = picture * _light(x, y, rng)[..., None]
    picture = ndimage.gaussian_filter(picture, (*[rng.uniform(0.3, 1.5)] * 2, 0))
    picture = picture + rng.normal(0, rng.uniform(1, 9), picture.shape)  # the sensor's noise
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(40, 95)))
    return Image.open(file).convert("RGB")


def _placed(digit: Image.Image, width: int, height: int, setting: Setting, rng: np.random.Generator) -> Floats:
    """The digit's ink (H, W) in [0, 1], rotated by a few degrees and placed at random in a picture of this size."""
    digit = digit.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, expand=True)
    digit = digit.crop(digit.getbbox())
    room = rng.uniform(*setting.room)
    scale = room * min(width / digit.width, height / digit.height)
    width_and_height = (max(1, round(digit.width * scale)), max(1, round(digit.height * scale)))
    digit = digit.resize(width_and_height, Image.Resampling.BOX)
    if setting.tight:
        margins = np.rint(0.03 * max(digit.size) * rng.uniform(-1, 1, (2, 2)).clip(0)).astype(int)
        return np.pad(np.asarray(digit), margins) / 255.0
    left = rng.uniform(0.05, 0.95) * (width - digit.width)
    top = rng.uniform(0.05, 0.95) * (height - digit.height)
    canvas = Image.new("L", (width, height))
    canvas.paste(digit, (round(left), round(top)))
    return np.asarray(canvas) / 255


def _colours(light_on_dark: bool, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Paper and ink, RGB in 0..255."""
    light = rng.uniform(185, 250) * rng.uniform(0.88, 1, 3)
    dark = rng.uniform(10, 60, 3)
    if rng.random() < 0.35:
        dark[rng.integers(3)] += rng.uniform(60, 120)  # blue, red or green
    return (dark, light) if light_on_dark else (light, dark)


def _rules(x: Floats, y: Floats, squared: bool, rng: np.random.Generator) -> Floats:
    """The lines of ruled or squared paper, in [0, 1]."""
    distance, angle = rng.uniform(0.08, 0.25), np.deg2rad(rng.uniform(-4, 4))
    across = x * np.sin(angle) + y * np.cos(angle)
    along = x * np.cos(angle) - y * np.sin(angle)
    lines = (across % distance) < 0.004
    if rng.random() < 0.5 or squared:
        lines = lines | ((along % distance) < 0.004)
    drawn: Floats = lines.astype(np.float64)
    return drawn


def _light(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """The brightness of each pixel: a gradient, darker corners, and sometimes a shadow as of a hand or a phone."""
    angle = rng.uniform(0, 2 * np.pi)
    light: Floats = 1 + rng.uniform(0, 0.35) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    light = light - rng.uniform(0, 0.5) * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    if rng.random() < 0.35:
        height, width = x.shape
        shadow = Image.new("L", (width, height))
        corners = rng.uniform(-0.3, 1.3, (4, 2)) * (width, height)
        ImageDraw.Draw(shadow).polygon([(float(px), float(py)) for px, py in corners], fill=255)
        shadow = shadow.filter(ImageFilter.GaussianBlur(rng.uniform(0.005, 0.06) * max(width, height)))
        light = light * (1 - rng.uniform(0.15, 0.5) * np.asarray(shadow) / 255)
    return light
