"""Finds the digit among a picture's ink: no specks, no ruled lines, nothing that touches the border."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mnist_lightning.errors import NoDigitError

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pieces = NDArray[np.int32]
Box = tuple[slice, slice]

# All constants here were chosen on the development set of rendered_digits.py.
# Ink thresholds, as fractions of the strongest ink: a shadow may join the digit to the border at one level only.
LEVELS = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8)
# In grey levels of 255: below a faint line, above smoothed noise.
MIN_CONTRAST = 8.0
# Longer side of a digit, as a fraction of the picture's; anything smaller is a speck.
MIN_DIGIT_SIDE = 0.05
# Minimum contrast to the surrounding paper, relative to that paper's spread.
MIN_DISTINCTION = 1.0
# A piece belongs to the digit up to this distance and from this size, relative to the digit's longer side and its ink.
MAX_GAP = 0.2
MIN_PIECE_SIZE = 0.03
# A piece with a smaller fraction of the digit's ink is a shadow or a ruled line.
MIN_PIECE_INK = 0.7
# A separate piece of at least this size and about this height, relative to the main piece, is another digit.
MIN_OTHER_DIGIT_SIZE = 0.3
MIN_OTHER_DIGIT_HEIGHT = 0.7
# Ink along more than this fraction of the picture's side is a shadow or another sheet of paper.
MAX_STROKE_AT_SIDE = 0.4
NUM_CANDIDATES = 8  # per level, largest first


class _Candidate(NamedTuple):
    """A connected piece of ink."""

    score: float
    contrast: float  # in grey levels
    level: float  # in grey levels
    pieces: Pieces  # (H, W), labels of the connected pieces at that level
    number: int  # its label

    @property
    def mask(self) -> Mask:
        """(H, W)."""
        pixels: Mask = self.pieces == self.number
        return pixels


def find_digit(inks: Sequence[Floats]) -> tuple[Floats, Mask]:
    """The digit's ink and mask.

    Args:
        inks: (H, W) in grey levels, for dark ink and for light ink; one of them is the paper between the strokes.

    Returns:
        Ink (h, w), 0.5 at the edges of the strokes, and the mask (h, w) of the strokes; cropped to the digit with a
        margin.

    Raises:
        NoDigitError: no digit, several digits, or too much other ink.
    """
    inks = [_padded(ink) for ink in inks]
    candidates = [(candidate, ink) for ink in inks if (candidate := _best_candidate(ink)) is not None]
    if not candidates:
        raise NoDigitError("nothing in the picture looks like a digit")
    candidates.sort(key=lambda candidate: candidate[0].score, reverse=True)
    main, ink = candidates[0]
    if len(candidates) == 2 and _encloses(candidates[1][0], main):
        main, ink = candidates[1]
    smooth = ndimage.gaussian_filter(ink, 1)
    ink_level = float(np.median(smooth[main.mask]))
    kept = _with_nearby_pieces(smooth, _pieces_within_edges(smooth, main, ink_level), main.mask)
    box = _box_of(kept)
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    return ink[window] / ink_level, kept[window]


def _pieces_within_edges(ink: Floats, main: _Candidate, ink_level: float) -> Pieces:
    """Labels (H, W) of the connected pieces at half the strokes' ink, where their edges are.

    If a shadow joins the digit to the border there, at the lowest level that separates them.
    """
    for level in np.linspace(ink_level / 2, max(ink_level / 2, main.level), 5):
        pieces: Pieces
        pieces, _ = ndimage.label(ink > level, np.ones((3, 3)))
        if not _at_border(pieces) & set(np.unique(pieces[main.mask])):
            break
    return pieces


def _encloses(one: _Candidate, other: _Candidate) -> bool:
    """Whether the other may be the paper inside a 0, which can have more area than the 0 itself."""
    outer, inner = _box_of(one.mask), _box_of(other.mask)
    if one.mask.shape != other.mask.shape or one.contrast < other.contrast / 2:
        return False
    return all(out.start < within.start and within.stop < out.stop for out, within in zip(outer, inner, strict=True))


def _padded(ink: Floats) -> Floats:
    """Adds paper where a stroke touches exactly one side of the picture; a ruled line touches two."""
    parts = [float((side > ink.max() / 4).mean()) for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1])]
    if sorted(parts)[-2] > 0 or max(parts) > MAX_STROKE_AT_SIDE:
        return ink
    top, bottom, left, right = (3 * int(part > 0) for part in parts)
    return np.pad(ink, ((top, bottom), (left, right)))


def _best_candidate(ink: Floats) -> _Candidate | None:
    """The piece of ink, of one polarity, that looks most like a digit."""
    smooth = ndimage.gaussian_filter(ink, 1)
    strongest = float(np.quantile(smooth, 0.998))
    if strongest < MIN_CONTRAST:
        return None
    found = [candidate for level in LEVELS for candidate in _candidates(smooth, level * strongest)]
    return max(found, key=lambda candidate: candidate.score, default=None)


def _candidates(ink: Floats, level: float) -> list[_Candidate]:
    pieces, _ = ndimage.label(ink > level, np.ones((3, 3)))
    at_border = _at_border(pieces)
    boxes = [
        (number, box)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1)
        if _longer_side(box) >= MIN_DIGIT_SIDE * max(ink.shape) and number not in at_border
    ]
    boxes.sort(key=lambda numbered: _longer_side(numbered[1]), reverse=True)
    measured = [_measured(ink, pieces, number, box, level) for number, box in boxes[:NUM_CANDIDATES]]
    return [candidate for candidate in measured if candidate is not None]


def _measured(ink: Floats, pieces: Pieces, number: int, box: Box, level: float) -> _Candidate | None:
    """The piece with its contrast to the paper around it; None if the contrast is too low."""
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    part = pieces[window] == number
    near = ndimage.maximum_filter(part, 5)  # includes the blurred edge
    around = ndimage.maximum_filter(part, 2 * margin + 5) & ~near
    paper = ink[window][around]
    usual, most = np.quantile(paper, [0.5, 0.9])
    contrast = float(ink[window][part].mean() - most)
    if contrast < max(MIN_CONTRAST, MIN_DISTINCTION * float(most - usual)):
        return None
    size = (_length(box[0]) * _length(box[1])) ** 0.5
    return _Candidate(contrast**2 * size, contrast, level, pieces, number)


def _longer_side(box: Box) -> int:
    rows, columns = box
    return max(_length(rows), _length(columns))


def _length(side: slice) -> int:
    return int(side.stop) - int(side.start)


def _box_of(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _with_nearby_pieces(ink: Floats, pieces: Pieces, main: Mask) -> Mask:
    """The mask (H, W) of the digit: pieces that overlap the main piece, and nearby pieces that are not small.

    Args:
        ink: (H, W) in grey levels.
        pieces: (H, W), labels of the connected pieces.
        main: (H, W), mask of the main piece.

    Raises:
        NoDigitError: several digits, or too much other ink.
    """
    sizes, at_border = np.bincount(pieces.ravel()), _at_border(pieces)
    own = [number for number in np.unique(pieces[main]) if number > 0]
    own = [number for number in own if sizes[number] >= MIN_PIECE_SIZE * max(sizes[own])]
    kept: Mask = np.isin(pieces, own)
    main_box, main_size, main_ink = _box_of(kept), kept.sum(), ink[kept].mean()
    others = {
        number: box
        for number, box in enumerate(ndimage.find_objects(pieces), start=1)
        if number not in own
        and number not in at_border
        and sizes[number] >= MIN_PIECE_SIZE * main_size
        and ink[box][pieces[box] == number].mean() >= MIN_PIECE_INK * main_ink
    }
    min_size = MIN_OTHER_DIGIT_SIZE * main_size
    max_gap = MAX_GAP * _longer_side(main_box)
    while near := others.keys() & set(np.unique(pieces[ndimage.distance_transform_edt(~kept) <= max_gap])):
        for number in near:
            box = others.pop(number)
            if sizes[number] >= min_size and _is_beside(box, main_box):
                raise NoDigitError("more than one digit in the picture: crop it to one digit")
            kept[box] |= pieces[box] == number
    if any(sizes[number] >= min_size and _is_as_tall(box, main_box) for number, box in others.items()):
        raise NoDigitError("more than one digit in the picture: crop it to one digit")
    box = _box_of(kept)
    num_between = np.count_nonzero(pieces[box]) - kept[box].sum()
    if sum(sizes[number] for number in others) > kept.sum() or num_between > kept.sum() / 4:
        raise NoDigitError("too much beside the digit in the picture: crop it to the digit")
    return kept


def _is_as_tall(box: Box, main_box: Box) -> bool:
    """Whether a piece is about as tall as the main one."""
    height, main_height = _length(box[0]), _length(main_box[0])
    return MIN_OTHER_DIGIT_HEIGHT * main_height <= height <= main_height / MIN_OTHER_DIGIT_HEIGHT


def _is_beside(box: Box, main_box: Box) -> bool:
    """Whether a nearby piece is another digit; pieces above each other are strokes, as in a 3 with separate bowls."""
    (_, columns), (_, main_columns) = box, main_box
    apart = bool(columns.stop <= main_columns.start or main_columns.stop <= columns.start)
    return apart and _is_as_tall(box, main_box)


def _at_border(pieces: Pieces) -> set[int]:
    """Labels of the pieces that touch the picture's border."""
    return set(np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))) - {0}
