"""MNIST's image format: similar stroke width, a 20 × 20 digit with grey edges, centred by its centre of mass.

Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", section III.A, and the data set's
page, http://yann.lecun.com/exdb/mnist/.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice]

SIDE = 28  # of the image, in pixels
BOX_SIDE = 20  # of the digit's box, in pixels
CENTRE = 14  # mean centre of mass of the training images: 13.99 and 14.00 (0 is the first pixel), n = 3,000
# Stroke width is between 2.0 and 4.0 pixels in nine of ten training images (n = 1,000), by `stroke_width` on images
# enlarged eight times.
MIN_STROKE_WIDTH, MAX_STROKE_WIDTH = 2.2, 3.6
SUBPIXELS = 8  # per pixel side, when strokes are measured and changed


def to_mnist_format(ink: Floats, strokes: Mask) -> NDArray[np.uint8]:
    """A digit's ink (h, w), 0.5 at the edges of the strokes, and their mask (h, w) as (28, 28), white on black."""
    shape = _enlarged_shape(ink, strokes)
    shape = shape[box_of(shape)]
    pixel = max(shape.shape) / BOX_SIDE  # of the result, in pixels of the shape
    width = stroke_width(shape) / pixel
    target = float(np.clip(width, MIN_STROKE_WIDTH, MAX_STROKE_WIDTH))
    if target != width:
        shape = _change_stroke_width(shape, width * pixel, target * pixel)
        shape = shape[box_of(shape)]
    return _scale_and_centre(shape)


def stroke_width(shape: Mask) -> float:
    """Mean stroke width in pixels: four times the mean distance to the edge, as within a strip."""
    depth = ndimage.distance_transform_edt(np.pad(shape, 1))  # the shape ends at its border
    return 4 * float(depth[depth > 0].mean())


def _enlarged_shape(ink: Floats, strokes: Mask) -> Mask:
    """The strokes, enlarged so that their edges are smooth."""
    ink = np.where(ndimage.binary_dilation(strokes, iterations=2), ink, 0).clip(0, 1)
    scale = SUBPIXELS * BOX_SIDE / max(ink.shape)
    if scale > 1:
        height, width = (max(1, round(side * scale)) for side in ink.shape)
        ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    shape: Mask = ink > 0.5
    return shape


def box_of(mask: Mask) -> Box:
    """The rows and columns that hold a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _change_stroke_width(shape: Mask, width: float, target: float) -> Mask:
    """Widens or narrows strokes from `width` to `target` pixels; keeps narrow parts."""
    change = (target - width) / 2
    margin = max(1, int(change) + 2)
    shape = np.pad(shape, margin)
    if change > 0:
        wider: Mask = ndimage.distance_transform_edt(~shape) <= change
        return wider
    depth = ndimage.distance_transform_edt(shape)
    # Hairlines of a serif face would vanish, so the pixels within half the target width of the middle lines stay.
    middle = shape & (depth >= ndimage.maximum_filter(depth, 3)) & (depth <= target / 2 - change)
    near_middle = ndimage.distance_transform_edt(~middle) <= target / 2
    narrower: Mask = (depth > -change) | (shape & near_middle)
    return narrower


def _scale_and_centre(shape: Mask) -> NDArray[np.uint8]:
    """The shape with a longer side of 20 in 28 × 28 pixels, its centre of mass in the middle to the nearest pixel."""
    scale = BOX_SIDE / max(shape.shape)
    height, width = (max(1, round(side * scale)) for side in shape.shape)
    # BOX averages areas, which anti-aliases the edges.
    digit = np.asarray(Image.fromarray(shape.astype(np.float32)).resize((width, height), Image.Resampling.BOX))
    row, column = ndimage.center_of_mass(digit)
    top = min(max(0, round(CENTRE - row)), SIDE - height)
    left = min(max(0, round(CENTRE - column)), SIDE - width)
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[top : top + height, left : left + width] = np.rint(digit * 255)
    return image
