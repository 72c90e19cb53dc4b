"""Labelled digits that are not from MNIST: rendered in fonts or drawn with pens, then photographed.

The preparation of `read` was chosen on the development set; the report set was not used until the final measurement.
The two sets share no font family, no way of writing a digit, no pen and no seed.
"""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_lightning.evidence.own_digits.pen_strokes import PENS, draw_digit
from mnist_lightning.evidence.own_digits.photographs import photograph

DrawnSet = Literal["development", "report"]


class RenderedDigit(NamedTuple):
    """A labelled picture of a digit."""

    image: Image.Image  # RGB
    digit: int  # 0..9
    kind: Literal["font", "pen"]
    style: str  # the font's face, or the pen
    light_on_dark: bool


# Families from matplotlib (DejaVu, STIX, Computer Modern: free licences) and from packages of fonts under the SIL Open
# Font License; Caladea is under Apache 2.0. Each family is in one set only.
FONTS: dict[DrawnSet, dict[str, tuple[str, ...]]] = {
    "development": {
        "matplotlib/mpl-data/fonts/ttf": (
            *("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSansMono.ttf"),
            *("DejaVuSerif.ttf", "DejaVuSerif-Italic.ttf", "STIXGeneral.ttf", "STIXGeneralBol.ttf"),
            *("STIXGeneralItalic.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf"),
        ),
        "font_manrope/files": ("Manrope-ExtraLight.ttf", "Manrope-Regular.ttf", "Manrope-ExtraBold.ttf"),
        "font_fredoka_one/files": ("FredokaOne-Regular.ttf",),
        "font_intuitive/files": ("Intuitive.ttf",),
    },
    "report": {
        "font_source_sans_pro/files": (
            *("SourceSansPro-Light.ttf", "SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf", "SourceSansPro-It.ttf"),
        ),
        "font_source_serif_pro/files": (
            *("SourceSerifPro-Light.ttf", "SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf"),
            "SourceSerifPro-It.ttf",
        ),
        "font_hanken_grotesk/files": (
            *("HankenGrotesk-Light.otf", "HankenGrotesk-Regular.otf", "HankenGrotesk-Bold.otf"),
            "HankenGrotesk-Italic.otf",
        ),
        "font_lato/files": ("Lato-Light.ttf", "Lato-Regular.ttf", "Lato-Black.ttf", "Lato-Italic.ttf"),
        "font_rhd/files": (
            *("RedHatDisplay-Light.ttf", "RedHatDisplay-Regular.ttf", "RedHatDisplay-Bold.ttf"),
            "RedHatDisplay-Italic.ttf",
        ),
        "font_caladea/files": ("Caladea-Regular.ttf", "Caladea-Italic.ttf"),
        "font_amatic_sc/files": ("AmaticSC-Regular.ttf", "AmaticSC-Bold.ttf"),
    },
}
WAYS_OF_WRITING: dict[DrawnSet, tuple[int, ...]] = {"development": (0,), "report": (1, 2)}
PENS_OF: dict[DrawnSet, tuple[str, ...]] = {
    "development": ("fineliner", "felt-tip"),
    "report": ("ballpoint", "marker", "brush"),
}
SEEDS: dict[DrawnSet, int] = {"development": 1, "report": 2}
PEN_SAMPLES = 4  # per digit, way and pen: 240 in the report set, as many as from fonts
NUM_EMPTY = 60
GLYPH_PIXELS = 500  # height of a glyph before it is photographed; no picture enlarges it


def rendered_digits(which: DrawnSet) -> Iterator[RenderedDigit]:
    """All pictures of a set; reproducible.

    Raises:
        ModuleNotFoundError: a font package is missing; install the extra `test`.
    """
    sequence = np.random.SeedSequence(SEEDS[which])
    plans: list[tuple[Literal["font", "pen"], str, int, int]] = [
        ("font", f"{folder}/{file}", digit, 0)
        for folder, files in FONTS[which].items()
        for file in files
        for digit in range(10)
    ]
    plans += [
        ("pen", pen, digit, way)
        for pen in PENS_OF[which]
        for digit in range(10)
        for way in WAYS_OF_WRITING[which]
        for _ in range(PEN_SAMPLES)
    ]
    for (kind, style, digit, way), seed in zip(plans, sequence.spawn(len(plans)), strict=True):
        rng = np.random.default_rng(seed)
        light_on_dark = bool(rng.random() < 0.5)
        glyph = _glyph(style, digit) if kind == "font" else draw_digit(digit, way, PENS[style], GLYPH_PIXELS, rng)
        yield RenderedDigit(photograph(glyph, light_on_dark, rng), digit, kind, Path(style).stem, light_on_dark)


def empty_papers(which: DrawnSet) -> Iterator[Image.Image]:
    """Photographs of paper without a digit, with light, shadow, grain and ruled lines; reproducible."""
    for number, seed in enumerate(np.random.SeedSequence([SEEDS[which], 0]).spawn(NUM_EMPTY)):
        yield photograph(None, light_on_dark=number % 2 == 1, rng=np.random.default_rng(seed))


def _glyph(font: str, digit: int) -> Image.Image:
    """The digit in a font, grey, ink 255 on 0, cropped."""
    package, _, path = font.partition("/")
    with importlib.resources.as_file(importlib.resources.files(package) / path) as file:
        face = ImageFont.truetype(str(file), GLYPH_PIXELS)
    image = Image.new("L", (2 * GLYPH_PIXELS, 2 * GLYPH_PIXELS))
    ImageDraw.Draw(image).text((GLYPH_PIXELS // 2, GLYPH_PIXELS // 2), str(digit), fill=255, font=face)
    return image.crop(image.getbbox())
