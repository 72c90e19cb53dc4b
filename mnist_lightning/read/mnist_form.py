"""MNIST's form: strokes of its width, the digit in 20 × 20 pixels with grey edges, its centre of mass in the middle.

LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), section III.A, and
the data set's page, http://yann.lecun.com/exdb/mnist/: the black and white images "were size normalized to fit in a
20x20 pixel box while preserving their aspect ratio", with "grey levels as a result of the anti-aliasing technique", and
"centered in a 28x28 image by computing the center of mass of the pixels, and translating the image so as to position
this point at the center of the 28x28 field".
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDE = 28  # of an image, in pixels
BOX_SIDE = 20  # of the box that the digit fits into
CENTRE = 14  # the mean centre of mass of the training images: 13.99 and 14.00 (0 is the first pixel), n = 3,000
# Width of the strokes: from 2.0 to 4.0 pixels in nine of ten training images (n = 1,000), measured as `stroke_width`
# does in these images eight times as large.
NARROWEST, WIDEST = 2.2, 3.6
FINE = 8  # subpixels a side at which strokes are measured and changed


def mnist_form(ink: Floats, strokes: Mask) -> NDArray[np.uint8]:
    """The digit as MNIST has it.

    Args:
        ink: (h, w), 0.5 where strokes have their edges.
        strokes: (h, w), the pixels whose ink is the digit's.

    Returns:
        (28, 28), white on black.
    """
    shape = _cut(_fine_shape(ink, strokes))
    pixel = max(shape.shape) / BOX_SIDE  # of the result, in pixels of the shape
    width = stroke_width(shape) / pixel
    wanted = float(np.clip(width, NARROWEST, WIDEST))
    if wanted != width:
        shape = _cut(_with_strokes_of(shape, width * pixel, wanted * pixel))
    return _centred(_fitted(shape))


def stroke_width(shape: Mask) -> float:
    """The mean width of the strokes, in pixels: a quarter of it is the mean distance to the edge within a strip."""
    return 4 * float(ndimage.distance_transform_edt(shape)[shape].mean())


def _fine_shape(ink: Floats, strokes: Mask) -> Mask:
    """The strokes, at so many pixels that their edges are smooth."""
    ink = np.where(ndimage.binary_dilation(strokes, iterations=2), ink, 0).clip(0, 1)
    scale = FINE * BOX_SIDE / max(ink.shape)
    if scale > 1:
        height, width = (max(1, round(side * scale)) for side in ink.shape)
        ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    shape: Mask = ink > 0.5
    return shape


def _cut(shape: Mask) -> Mask:
    """The shape's box."""
    rows, columns = np.flatnonzero(shape.any(axis=1)), np.flatnonzero(shape.any(axis=0))
    return shape[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _with_strokes_of(shape: Mask, width: float, wanted: float) -> Mask:
    """The shape with wider or narrower strokes, in pixels; narrow parts of it stay."""
    change = (wanted - width) / 2
    margin = max(1, int(change) + 2)
    shape = np.pad(shape, margin)
    if change > 0:
        wider: Mask = ndimage.distance_transform_edt(~shape) <= change
        return wider
    depth = ndimage.distance_transform_edt(shape)
    # A hairline of a serif face would vanish: around the strokes' middle lines, half of the wanted width stays.
    middle = shape & (depth >= ndimage.maximum_filter(depth, 3)) & (depth <= wanted / 2 - change)
    near_middle = ndimage.distance_transform_edt(~middle) <= wanted / 2
    narrower: Mask = (depth > -change) | (shape & near_middle)
    return narrower


def _fitted(shape: Mask) -> Floats:
    """The shape in a box of 20 × 20: (h, w) in [0, 1], of which one side is 20."""
    scale = BOX_SIDE / max(shape.shape)
    height, width = (max(1, round(side * scale)) for side in shape.shape)
    # BOX averages areas, which gives the grey levels of anti-aliasing.
    return np.asarray(Image.fromarray(shape.astype(np.float32)).resize((width, height), Image.Resampling.BOX))


def _centred(digit: Floats) -> NDArray[np.uint8]:
    """The digit (h, w) in 28 × 28, its centre of mass in the middle as far as whole pixels allow."""
    height, width = digit.shape
    row, column = ndimage.center_of_mass(digit)
    top = min(max(0, round(CENTRE - row)), SIDE - height)
    left = min(max(0, round(CENTRE - column)), SIDE - width)
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    image[top : top + height, left : left + width] = np.rint(digit * 255)
    return image
