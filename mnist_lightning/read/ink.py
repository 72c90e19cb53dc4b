"""Where a picture has ink, whatever its colours, its transparency, the light and the shadows on it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from mnist_lightning.errors import NoDigitError

Floats = NDArray[np.float32]

# A pen's line of a fiftieth of a digit, which fills a quarter of the picture, is 4 pixels wide here.
LARGEST_SIDE = 800
# A digit of 28 × 28 pixels gets strokes wide enough to be measured.
SMALLEST_SIDE = 256
# Light is smooth at this size, and noise averages out.
LIGHT_SIDE = 100
# Anything wider is light, shadow or another sheet of paper; no stroke is, even of a bold face that fills the picture.
WIDEST_STROKE = 0.4  # of the picture's longer side


def ink_of(image: Image.Image) -> tuple[Floats, Floats]:
    """How far each point is from the paper around it, in grey levels: for dark ink on light paper, and for light ink.

    Args:
        image: of any mode and size.

    Returns:
        Twice (H, W) from 0 to about 255; the longer side is between SMALLEST_SIDE and about twice LARGEST_SIDE.

    Raises:
        NoDigitError: the picture is empty.
    """
    lightness = _along_the_contrast(np.asarray(_right_side_up(image), dtype=np.float32))
    return _beyond_the_paper(lightness), _beyond_the_paper(-lightness)


def _right_side_up(image: Image.Image) -> Image.Image:
    """The first frame in RGB, turned as its EXIF says, on a paper that shows it, and not too large."""
    if 0 in image.size:
        raise NoDigitError("the picture is empty")
    if image.mode == "LAB":  # which Pillow does not convert, as little as the next
        image = image.getchannel(0)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    transparent = image.has_transparency_data
    mode = "RGBA" if transparent else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if (factor := max(image.size) // LARGEST_SIDE) > 1:
        image = image.reduce(factor)
    image = _turned(image)
    if max(image.size) < SMALLEST_SIDE:
        scale = SMALLEST_SIDE / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    if not transparent:
        return image
    on_white, on_black = (
        Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
        for paper in ("white", "black")
    )
    # White ink on nothing is not to be seen on white.
    contrast_on_white, contrast_on_black = (np.asarray(on.convert("L")).std() for on in (on_white, on_black))
    return on_black if contrast_on_white < contrast_on_black / 4 else on_white


def _turned(image: Image.Image) -> Image.Image:
    """The picture as its EXIF says; as it is where that is broken, which can make Pillow raise anything."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits or more, or of real numbers, spread over 0..255."""
    values = np.array(image, dtype=np.float32)
    np.nan_to_num(values, copy=False, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    values -= low  # in place: a large picture takes much memory
    values *= 255 / max(high - low, 1e-6)
    grey = Image.fromarray(values.astype(np.uint8))
    grey.info = image.info  # how it is turned
    return grey


def _along_the_contrast(colours: Floats) -> Floats:
    """(H, W): colours (H, W, 3) along the axis on which ink and paper differ most, light paper high."""
    around = ndimage.uniform_filter(colours, (*[max(colours.shape) // 10] * 2, 0))
    details = (colours - around).reshape(-1, 3)
    _, axes = np.linalg.eigh(details.T @ details)
    axis = axes[:, -1]
    projected: Floats = colours @ (axis * np.sign(axis.sum() or 1))
    projected /= np.abs(axis).sum()
    return projected


def _beyond_the_paper(lightness: Floats) -> Floats:
    """(H, W): how much darker each point is than the paper there, for paper that is lighter than ink."""
    height, width = lightness.shape
    scale = LIGHT_SIDE / max(height, width)
    small = Image.fromarray(lightness).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX
    )
    size = round(WIDEST_STROKE * LIGHT_SIDE)
    # Closing fills in what is darker and narrower than `size`, which leaves the paper.
    paper = ndimage.grey_closing(ndimage.gaussian_filter(np.asarray(small), 1), (size, size), mode="nearest")
    paper = ndimage.gaussian_filter(paper, size / 8)
    paper = np.asarray(Image.fromarray(paper).resize((width, height), Image.Resampling.BICUBIC))
    darker = paper - lightness
    ink: Floats = np.maximum(darker - np.median(darker), 0)
    return ink
