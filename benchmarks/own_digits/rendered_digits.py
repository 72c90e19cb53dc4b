"""Labelled digits that are not from MNIST: rendered in fonts or drawn with pens, then photographed.

The preparation of `read` was chosen on the development set. The two sets share no font family, no way of writing a
digit and no seed, and no pen but those of two kinds. The report set was measured for several versions of `read` and
of the network, the last ones with the same seed.
"""

import importlib.resources
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.own_digits.pen_strokes import PENS, Pen, draw_digit
from benchmarks.own_digits.photographs import USUAL, Setting, photograph
from benchmarks.own_digits.surroundings import Change, boxed, circled, dotted, hollow, tilted, underlined
from mnist_lightning.data.batches import LabelledImages


class RenderedDigit(NamedTuple):
    """A labelled picture."""

    image: Image.Image  # RGB; L if it is an image of MNIST
    digit: int | None  # 0..9; None if it shows a letter, a symbol or nothing
    kind: str  # a key of KINDS, or one of the three other kinds


class Kind(NamedTuple):
    """How a digit is changed, and how it is photographed."""

    change: Change | None = None
    setting: Setting = USUAL
    pen: Pen | None = None  # in place of the set's pens


FAINT = Setting(strength=(0.35, 0.6))
KINDS = {
    "clean, rendered": Kind(),
    "clean, handwritten": Kind(),
    "small in a large photo": Kind(setting=Setting(size=(2000, 1500), room=(40 / 1500, 90 / 1500))),
    "in a form's box": Kind(boxed),
    "underlined": Kind(underlined),
    "circled": Kind(circled),
    "outline only": Kind(hollow, pen=Pen(width=0.22, swing=0.1, wobble=0.01)),
    "tilted by 20°": Kind(tilted),
    "cropped at its edges": Kind(setting=Setting(tight=True)),
    "on squared paper": Kind(setting=Setting(squared=True)),
    "thin pencil or faint ink": Kind(setting=FAINT, pen=Pen(width=0.018, swing=0.2, wobble=0.02)),
    "with a full stop": Kind(dotted),
}
MNIST, NO_DIGIT, EMPTY = ("MNIST's images", "letters and symbols", "empty paper")
# Without those that have a digit's shape in many faces (O, o, Q: 0; I, i, J, j, l, |, /, brackets: 1; Z, z: 2; S, s: 5;
# b, G: 6; B: 8; g, q: 9) and without dots and dashes.
LETTERS_AND_SYMBOLS = "ACDEFHKLMNPRTUVWXYacdefhkmnprtuvwxy&%#@?+=*$€§<>{}~^"

# Families from matplotlib (DejaVu, STIX, Computer Modern: free licences) and from packages of fonts under the SIL Open
# Font License; Caladea is under Apache 2.0. Each family is in one set only. The files, with their faces in place of {}.
FONTS: dict[str, dict[str, str]] = {
    "development": {
        "matplotlib/mpl-data/fonts/ttf/{}.ttf": (
            "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSerif DejaVuSerif-Italic STIXGeneral "
            "STIXGeneralBol STIXGeneralItalic cmr10 cmss10 cmtt10"
        ),
        "font_manrope/files/Manrope-{}.ttf": "ExtraLight Regular ExtraBold",
        "font_fredoka_one/files/FredokaOne-{}.ttf": "Regular",
        "font_intuitive/files/{}.ttf": "Intuitive",
    },
    "report": {
        "font_source_sans_pro/files/SourceSansPro-{}.ttf": "Light Regular Bold It",
        "font_source_serif_pro/files/SourceSerifPro-{}.ttf": "Light Regular Bold It",
        "font_hanken_grotesk/files/HankenGrotesk-{}.otf": "Light Regular Bold Italic",
        "font_lato/files/Lato-{}.ttf": "Light Regular Black Italic",
        "font_rhd/files/RedHatDisplay-{}.ttf": "Light Regular Bold Italic",
        "font_caladea/files/Caladea-{}.ttf": "Regular Italic",
        "font_amatic_sc/files/AmaticSC-{}.ttf": "Regular Bold",
    },
}
WAYS_OF_WRITING: dict[str, tuple[int, ...]] = {"development": (0,), "report": (1, 2)}
PENS_OF: dict[str, tuple[str, ...]] = {
    "development": ("fineliner", "felt-tip"),
    "report": ("ballpoint", "marker", "brush"),
}
SEEDS: dict[str, int] = {"development": 1, "report": 4}
PEN_SAMPLES = 2  # of clean pictures per digit, way and pen: 120 in the report set
NUM_OF_KIND = 60  # of each other kind, half of them rendered in fonts
NUM_NO_DIGIT = 120
NUM_MNIST = 300
NUM_EMPTY = 60
GLYPH_PIXELS = 500  # height of a glyph before it is photographed; no picture enlarges it


def rendered_digits(which: str, kinds: Iterable[str] = (*KINDS, NO_DIGIT, EMPTY)) -> Iterator[RenderedDigit]:
    """The pictures of a set, of these kinds; reproducible. The fonts are in the extra `test`."""
    for kind in kinds:
        sequence = np.random.SeedSequence([SEEDS[which], *kind.encode()])
        plans = list(_plans(which, kind, np.random.default_rng(sequence)))
        for (style, sign, way), seed in zip(plans, sequence.spawn(len(plans)), strict=True):
            yield _rendered(kind, style, sign, way, np.random.default_rng(seed))


def mnist_pictures(images: LabelledImages, num_images: int = NUM_MNIST) -> Iterator[RenderedDigit]:
    """The first MNIST images of a set as pictures of 28 × 28 pixels."""
    for image, label in zip(images.images[:num_images, 0], images.labels[:num_images], strict=True):
        yield RenderedDigit(Image.fromarray(image.numpy()), int(label), MNIST)


def faces_of(which: str) -> list[str]:
    """The fonts' files of a set, below their packages."""
    return [file.format(face) for file, faces in FONTS[which].items() for face in faces.split()]


def _plans(which: str, kind: str, rng: np.random.Generator) -> Iterator[tuple[str, str, int]]:
    """Style, digit or letter, and way of writing of each picture of a kind."""
    faces, pens, ways = faces_of(which), PENS_OF[which], WAYS_OF_WRITING[which]
    if kind == EMPTY:
        yield from [("", "", 0)] * NUM_EMPTY
    elif kind == NO_DIGIT:
        for number in range(NUM_NO_DIGIT):
            yield str(rng.choice(faces)), LETTERS_AND_SYMBOLS[number % len(LETTERS_AND_SYMBOLS)], 0
    elif kind == "clean, rendered":
        yield from ((face, str(digit), 0) for face in faces for digit in range(10))
    elif kind == "clean, handwritten":
        samples = range(PEN_SAMPLES)
        yield from ((pen, str(digit), way) for pen, digit, way, _ in product(pens, range(10), ways, samples))
    else:
        for number in range(NUM_OF_KIND):
            style = faces if number % 2 else pens
            yield str(rng.choice(style)), str(number // 2 % 10), int(rng.choice(ways))


def _rendered(name: str, style: str, sign: str, way: int, rng: np.random.Generator) -> RenderedDigit:
    """A picture of a kind, and its label."""
    light_on_dark = bool(rng.random() < 0.5)
    kind = KINDS.get(name, Kind())
    glyph = None
    if style in PENS:
        glyph = draw_digit(int(sign), way, kind.pen or PENS[style], GLYPH_PIXELS, rng)
    elif style:
        glyph = _glyph(style, sign)
    if glyph is not None and kind.change is not None:
        glyph = kind.change(glyph, rng)
    picture = photograph(glyph, light_on_dark, rng, kind.setting)
    return RenderedDigit(picture, int(sign) if sign.isdecimal() else None, name)


def _glyph(font: str, sign: str) -> Image.Image:
    """A digit, letter or symbol in a font, grey, ink 255 on 0, cropped."""
    package, _, path = font.partition("/")
    face = ImageFont.truetype(str(importlib.resources.files(package) / path), GLYPH_PIXELS)
    image = Image.new("L", (2 * GLYPH_PIXELS, 2 * GLYPH_PIXELS))
    ImageDraw.Draw(image).text((GLYPH_PIXELS // 2, GLYPH_PIXELS // 2), sign, fill=255, font=face)
    return image.crop(image.getbbox())
