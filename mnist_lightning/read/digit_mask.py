"""Which of a picture's ink is the digit: not specks, not ruled lines, not what comes in from the border."""

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

# All numbers here were chosen on the development set of rendered_digits.py.
# Where ink is looked for, as fractions of the strongest: a shadow joins the digit to the border at one, not at another.
LEVELS = (0.15, 0.25, 0.35, 0.5, 0.65, 0.8)
# In grey levels of 255: less than a faint line has, and more than noise once it is smoothed.
LEAST_CONTRAST = 8.0
# A digit's longer side, as a fraction of the picture's: a smaller thing is a speck.
SMALLEST_DIGIT = 0.05
# What stands out of its surroundings by less than so many times their spread is part of them.
LEAST_DISTINCTION = 1.0
# A piece belongs to the digit if it is as near and as large, in parts of the digit's longer side and of its ink.
LARGEST_GAP = 0.2
SMALLEST_PIECE = 0.03
# Fainter than this part of the digit's ink, it is a shadow or a ruled line.
FAINTEST_PIECE = 0.7
# As large and as high a piece that stands apart is another digit, not a stroke of this one, in parts of the main piece.
OTHER_DIGIT = 0.3
OTHER_HEIGHT = 0.7
# More than this part of the picture's side is a shadow or another sheet.
WIDEST_STROKE_AT_SIDE = 0.4
NUM_CANDIDATES = 8  # at each level, by size


class _Candidate(NamedTuple):
    """A connected piece of ink."""

    score: float
    contrast: float  # in grey levels
    level: float  # in grey levels
    pieces: Pieces  # (H, W), numbers of the connected pieces at that level
    number: int  # which of them it is

    @property
    def part(self) -> Mask:
        """Its pixels, (H, W)."""
        pixels: Mask = self.pieces == self.number
        return pixels


def find_digit(inks: Sequence[Floats]) -> tuple[Floats, Mask]:
    """The ink of the digit, and where it is.

    Args:
        inks: (H, W) in grey levels, for dark ink and for light; one of them is the paper between the other's strokes.

    Returns:
        Ink (h, w), 0.5 at the strokes' edges, and the pixels (h, w) that belong to the digit's strokes; cut to the
        digit's box with a margin.

    Raises:
        NoDigitError: nothing in the picture stands out, or too much does.
    """
    inks = [_with_room(ink) for ink in inks]
    candidates = [(candidate, ink) for ink in inks if (candidate := _best_candidate(ink)) is not None]
    if not candidates:
        raise NoDigitError("nothing on it looks like a digit")
    candidates.sort(key=lambda candidate: candidate[0].score, reverse=True)
    main, ink = candidates[0]
    if len(candidates) == 2 and _encloses(candidates[1][0], main):
        main, ink = candidates[1]
    smooth = ndimage.gaussian_filter(ink, 1)
    ink_level = float(np.median(smooth[main.part]))
    kept = _with_its_pieces(smooth, _pieces_at_the_edge(smooth, main, ink_level), main.part)
    box = _box_of(kept)
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    return ink[window] / ink_level, kept[window]


def _pieces_at_the_edge(ink: Floats, main: _Candidate, ink_level: float) -> Pieces:
    """Numbers (H, W) of the connected pieces, at half the strokes' own ink, where their edges are.

    Where a shadow joins the digit to the border there, at the lowest level where none does.
    """
    for level in np.linspace(ink_level / 2, max(ink_level / 2, main.level), 5):
        pieces: Pieces
        pieces, _ = ndimage.label(ink > level, np.ones((3, 3)))
        if not _at_border(pieces) & set(np.unique(pieces[main.part])):
            break
    return pieces


def _encloses(one: _Candidate, other: _Candidate) -> bool:
    """Whether the other may be what is seen through a 0, of which there can be more than of the 0."""
    outer, inner = _box_of(one.part), _box_of(other.part)
    if one.part.shape != other.part.shape or one.contrast < other.contrast / 2:
        return False
    return all(out.start < within.start and within.stop < out.stop for out, within in zip(outer, inner, strict=True))


def _with_room(ink: Floats) -> Floats:
    """The ink, with some paper added where a stroke reaches one side of the picture alone: a ruled line reaches two."""
    parts = [float((side > ink.max() / 4).mean()) for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1])]
    if sorted(parts)[-2] > 0 or max(parts) > WIDEST_STROKE_AT_SIDE:
        return ink
    top, bottom, left, right = (3 * int(part > 0) for part in parts)
    return np.pad(ink, ((top, bottom), (left, right)))


def _best_candidate(ink: Floats) -> _Candidate | None:
    """The piece of ink that most looks like a digit, of one polarity."""
    smooth = ndimage.gaussian_filter(ink, 1)
    strongest = float(np.quantile(smooth, 0.998))
    if strongest < LEAST_CONTRAST:
        return None
    found = [candidate for level in LEVELS for candidate in _candidates(smooth, level * strongest)]
    return max(found, key=lambda candidate: candidate.score, default=None)


def _candidates(ink: Floats, level: float) -> list[_Candidate]:
    pieces, _ = ndimage.label(ink > level, np.ones((3, 3)))
    at_border = _at_border(pieces)
    boxes = [
        (number, box)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1)
        if _longer_side(box) >= SMALLEST_DIGIT * max(ink.shape) and number not in at_border
    ]
    boxes.sort(key=lambda numbered: _longer_side(numbered[1]), reverse=True)
    measured = [_measured(ink, pieces, number, box, level) for number, box in boxes[:NUM_CANDIDATES]]
    return [candidate for candidate in measured if candidate is not None]


def _measured(ink: Floats, pieces: Pieces, number: int, box: Box, level: float) -> _Candidate | None:
    """The piece with its contrast to the paper around it; None if that is none to speak of."""
    margin = max(3, _longer_side(box) // 10)
    window = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
    part = pieces[window] == number
    near = ndimage.maximum_filter(part, 5)  # where ink fades
    around = ndimage.maximum_filter(part, 2 * margin + 5) & ~near
    paper = ink[window][around]
    usual, most = np.quantile(paper, [0.5, 0.9])
    contrast = float(ink[window][part].mean() - most)
    if contrast < max(LEAST_CONTRAST, LEAST_DISTINCTION * float(most - usual)):
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


def _with_its_pieces(ink: Floats, pieces: Pieces, main: Mask) -> Mask:
    """The strokes (H, W) that belong together: what overlaps the main piece, and what is near it and not small.

    Args:
        ink: (H, W) in grey levels.
        pieces: (H, W), numbers of the connected pieces.
        main: (H, W), the piece that was found.

    Raises:
        NoDigitError: there are others like it.
    """
    sizes, at_border = np.bincount(pieces.ravel()), _at_border(pieces)
    own = [number for number in np.unique(pieces[main]) if number > 0]
    own = [number for number in own if sizes[number] >= SMALLEST_PIECE * max(sizes[own])]
    kept: Mask = np.isin(pieces, own)
    main_box, main_size, main_ink = _box_of(kept), kept.sum(), ink[kept].mean()
    others = {
        number: box
        for number, box in enumerate(ndimage.find_objects(pieces), start=1)
        if number not in own
        and number not in at_border
        and sizes[number] >= SMALLEST_PIECE * main_size
        and ink[box][pieces[box] == number].mean() >= FAINTEST_PIECE * main_ink
    }
    largest_gap = LARGEST_GAP * _longer_side(main_box)
    while near := others.keys() & set(np.unique(pieces[ndimage.distance_transform_edt(~kept) <= largest_gap])):
        for number in near:
            box = others.pop(number)
            if sizes[number] >= OTHER_DIGIT * main_size and _stands_beside(box, main_box):
                raise NoDigitError("there is more than one digit on it: cut out one")
            kept[box] |= pieces[box] == number
    if any(sizes[number] >= OTHER_DIGIT * main_size and _is_as_high(box, main_box) for number, box in others.items()):
        raise NoDigitError("there is more than one digit on it: cut out one")
    box = _box_of(kept)
    num_between = np.count_nonzero(pieces[box]) - kept[box].sum()
    if sum(sizes[number] for number in others) > kept.sum() or num_between > kept.sum() / 4:
        raise NoDigitError("there is too much else on it")
    return kept


def _is_as_high(box: Box, main_box: Box) -> bool:
    """Whether a piece is about as high as the main one."""
    height, main_height = _length(box[0]), _length(main_box[0])
    return OTHER_HEIGHT * main_height <= height <= main_height / OTHER_HEIGHT


def _stands_beside(box: Box, main_box: Box) -> bool:
    """Whether a near piece is another digit; one above the other are strokes, as of a 3 whose bowls do not meet."""
    (_, columns), (_, main_columns) = box, main_box
    apart = bool(columns.stop <= main_columns.start or main_columns.stop <= columns.start)
    return apart and _is_as_high(box, main_box)


def _at_border(pieces: Pieces) -> set[int]:
    """The numbers of the pieces that reach the picture's border."""
    return set(np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))) - {0}
