"""Which of a picture's ink is the digit: not specks, not ruled lines, not what comes in from the border."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mnist_lightning.errors import NoDigitError

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice]

# Where ink is looked for, as fractions of the strongest: a shadow joins the digit to the border at one, not at another.
LEVELS = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8)
# 8-bit grey levels. Paper's grain and a sensor's noise differ by as much; a pencil's line by three times as much.
LEAST_CONTRAST = 8.0
# A digit's longer side, as a fraction of the picture's: a smaller thing is a speck.
SMALLEST_DIGIT = 0.05
# What stands out of its surroundings by less than so many times their spread is part of them.
LEAST_DISTINCTION = 2.5
# A piece belongs to the digit if it is as near and as large, in parts of the digit's longer side and of its ink.
LARGEST_GAP = 0.2
SMALLEST_PIECE = 0.03
NUM_CANDIDATES = 8  # at each level, by size


class _Candidate(NamedTuple):
    """A connected piece of ink."""

    score: float
    contrast: float  # in grey levels
    level: float  # in grey levels
    part: Mask  # (H, W)


def find_digit(inks: tuple[Floats, Floats]) -> tuple[Floats, Mask]:
    """The ink of the digit, and where it is.

    Args:
        inks: (H, W) in grey levels, for dark ink and for light; one of them is the paper between the other's strokes.

    Returns:
        Ink (h, w), 0.5 at the strokes' edges, and the pixels (h, w) that belong to the digit's strokes; cut to the
        digit's box with a margin.

    Raises:
        NoDigitError: nothing in the picture stands out, or too much does.
    """
    candidates = [(candidate, ink) for ink in inks if (candidate := _best_candidate(ink)) is not None]
    if not candidates:
        raise NoDigitError("nothing on it looks like a digit")
    main, ink = max(candidates, key=lambda candidate: candidate[0].score)
    if main.score == 0:
        raise NoDigitError("nothing on it looks like a digit")
    smooth = ndimage.gaussian_filter(ink, 1)
    # Half of the strokes' own ink is where their edges are.
    ink_level = float(np.median(smooth[main.part]))
    labels, _ = ndimage.label(smooth > ink_level / 2, np.ones((3, 3)))
    kept = _with_its_pieces(labels, main.part)
    box = _box_of(kept)
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    return ink[window] / ink_level, kept[window]


def _best_candidate(ink: Floats) -> _Candidate | None:
    """The piece of ink that most looks like a digit, of one polarity."""
    smooth = ndimage.gaussian_filter(ink, 1)
    strongest = float(np.quantile(smooth, 0.998))
    if strongest < LEAST_CONTRAST:
        return None
    found = (candidate for level in LEVELS for candidate in _candidates(smooth, level * strongest))
    return max(found, key=lambda candidate: candidate.score, default=None)


def _candidates(ink: Floats, level: float) -> list[_Candidate]:
    labels, _ = ndimage.label(ink > level, np.ones((3, 3)))
    height, width = ink.shape
    boxes = [
        (number, box)
        for number, box in enumerate(ndimage.find_objects(labels), start=1)
        if _longer_side(box) >= SMALLEST_DIGIT * max(ink.shape)
        and not (box[0].start == 0 or box[1].start == 0 or box[0].stop == height or box[1].stop == width)
    ]
    boxes.sort(key=lambda numbered: _longer_side(numbered[1]), reverse=True)
    return [_measured(ink, labels, number, box, level) for number, box in boxes[:NUM_CANDIDATES]]


def _measured(ink: Floats, labels: NDArray[np.int32], number: int, box: Box, level: float) -> _Candidate:
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    part = labels[window] == number
    near = ndimage.binary_dilation(part, iterations=2)
    around = ndimage.binary_dilation(near, iterations=margin) & ~near
    paper = ink[window][around]
    contrast = float(ink[window][part].mean() - paper.mean())
    if contrast < max(LEAST_CONTRAST, LEAST_DISTINCTION * float(paper.std())):
        return _Candidate(0, contrast, level, labels == number)
    rows, columns = ((side.stop - side.start) for side in box)
    return _Candidate(contrast**2 * (rows * columns) ** 0.5, contrast, level, labels == number)


def _longer_side(box: Box) -> int:
    return max(side.stop - side.start for side in box)


def _box_of(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _with_its_pieces(labels: NDArray[np.int32], main: Mask) -> Mask:
    """The strokes (H, W) that belong together: what overlaps the main piece, and what is near it and not small.

    Args:
        labels: (H, W) of connected pieces.
        main: (H, W) of the piece that was found.
    """
    height, width = labels.shape
    boxes = ndimage.find_objects(labels)
    own = set(np.unique(labels[main])) - {0}
    size = _longer_side(_box_of(main))
    touching = {
        number
        for number, box in enumerate(boxes, start=1)
        if box[0].start == 0 or box[1].start == 0 or box[0].stop == height or box[1].stop == width
    }
    own = (own - touching) or own
    sizes = np.bincount(labels.ravel())
    main_size = sum(sizes[number] for number in own)
    kept = np.isin(labels, list(own))
    reach = ndimage.distance_transform_edt(~kept) <= LARGEST_GAP * size
    for number in set(np.unique(labels[reach])) - own - touching - {0}:
        if sizes[number] >= SMALLEST_PIECE * main_size:
            kept |= labels == number
    return kept
