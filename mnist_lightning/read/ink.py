"""Separates ink from paper, for any colours, transparency, light and shadows."""

import contextlib

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from mnist_lightning.data.image_files import MIN_DECODED_SIDE
from mnist_lightning.read.mnist_format import Floats

# At this size, a digit that fills a quarter of the picture, with strokes of a fiftieth of it, has strokes of 4 pixels.
MAX_WORKING_SIDE = MIN_DECODED_SIDE
# At this size, the strokes of a 28 × 28 digit are wide enough to be measured.
MIN_WORKING_SIDE = 256
# At this size, light is smooth and noise averages out.
LIGHT_SIDE = 100
# Anything wider is light, shadow or another sheet of paper, even if a digit in a bold face fills the picture.
MAX_STROKE_WIDTH = 0.4  # of the picture's longer side


def extract_ink(image: Image.Image) -> tuple[Floats, Floats]:
    """The contrast of each pixel to the paper around it, in grey levels: once for dark ink, once for light ink.

    Both (H, W) from 0 to about 255; longer side from MIN_WORKING_SIDE to about twice MAX_WORKING_SIDE.
    """
    lightness = _project_to_contrast_axis(np.asarray(_to_upright_rgb(image), dtype=np.float32))
    if (paper := _flat_paper(lightness)) is not None:
        return np.maximum(paper - lightness, 0), np.maximum(lightness - paper, 0)
    return _subtract_from_paper(lightness), _subtract_from_paper(-lightness)


def _flat_paper(lightness: Floats) -> float | None:
    """The lightness of most pixels, also at the border, in a drawing or a clean scan; None in a photo."""
    rounded = lightness.round()
    values, counts = np.unique(rounded, return_counts=True)
    paper = float(values[counts.argmax()])
    border = np.concatenate([rounded[0], rounded[-1], rounded[:, 0], rounded[:, -1]])
    is_flat = counts.max() > rounded.size / 2 and (border == paper).mean() > 0.5
    return paper if is_flat else None


def _to_upright_rgb(image: Image.Image) -> Image.Image:
    """Converts to RGB, rotates according to EXIF, fills a transparent background and resizes."""
    if image.mode == "LAB":
        image = image.getchannel(0)  # Pillow does not convert it to RGB
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    transparent = image.has_transparency_data
    mode = "RGBA" if transparent else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    if (factor := max(image.size) // MAX_WORKING_SIDE) > 1:
        image = image.reduce(factor)
    with contextlib.suppress(Exception):  # on broken EXIF data, Pillow can raise anything
        image = ImageOps.exif_transpose(image)
    if max(image.size) < MIN_WORKING_SIDE:
        scale = MIN_WORKING_SIDE / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    if not transparent:
        return image
    on_white, on_black = (
        Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
        for paper in ("white", "black")
    )
    # White ink on a transparent background is invisible on white.
    contrast_on_white, contrast_on_black = (np.asarray(on.convert("L")).std() for on in (on_white, on_black))
    return on_black if contrast_on_white < contrast_on_black / 4 else on_white


def _eight_bits(image: Image.Image) -> Image.Image:
    """Rescales grey values of 16 or 32 bits, as from a scanner, to 0..255."""
    values = np.array(image, dtype=np.float32)
    values -= values.min()  # in place, to save memory
    values *= 255 / max(float(values.max()), 1e-6)
    grey = Image.fromarray(values.astype(np.uint8))
    grey.info = image.info  # includes the EXIF rotation
    return grey


def _project_to_contrast_axis(colours: Floats) -> Floats:
    """Projects colours (H, W, 3) onto the axis on which ink and paper differ most, lighter is higher: (H, W)."""
    around = ndimage.uniform_filter(colours, (*[max(colours.shape) // 10] * 2, 0))
    details = (colours - around).reshape(-1, 3)
    _, axes = np.linalg.eigh(details.T @ details)
    axis = axes[:, -1]
    projected: Floats = colours @ (axis * np.sign(axis.sum() or 1))
    projected /= np.abs(axis).sum()
    return projected


def _subtract_from_paper(lightness: Floats) -> Floats:
    """How much darker each pixel (H, W) is than the paper around it, if the paper is lighter than the ink."""
    height, width = lightness.shape
    scale = LIGHT_SIDE / max(height, width)
    small = Image.fromarray(lightness).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX
    )
    size = round(MAX_STROKE_WIDTH * LIGHT_SIDE)
    # Closing removes dark areas narrower than `size`, which leaves the paper.
    # Around the picture is paper, which a tightly cropped digit needs.
    smooth = ndimage.gaussian_filter(np.asarray(small), 1)
    paper = ndimage.grey_closing(smooth, (size, size), mode="constant", cval=np.quantile(smooth, 0.95))
    paper = ndimage.gaussian_filter(paper, size / 8)
    paper = np.asarray(Image.fromarray(paper).resize((width, height), Image.Resampling.BICUBIC))
    darker = paper - lightness
    ink: Floats = np.maximum(darker - np.median(darker), 0)
    return ink
