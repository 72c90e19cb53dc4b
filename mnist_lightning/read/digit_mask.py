"""Finds the digit among a picture's ink, by the shapes of connected pieces of ink.

Ruled lines, shadows, frames around the digit, underlines, dots and specks are not the digit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from mnist_lightning.errors import UserError
from mnist_lightning.read.mnist_format import Box, Floats, Mask, box_of, stroke_width

Pieces = NDArray[np.int32]

# All constants here were chosen on the development set of rendered_digits.py.
# Ink thresholds, as fractions of the strongest ink: a shadow may join the digit to the border at one level only.
LEVELS = (0.2, 0.35, 0.5, 0.65, 0.8)
MIN_SLOPE = 5.0  # at the edges, in grey levels of 255 per pixel: below a faint line, above noise and most shadows
MIN_DISTINCTION = 1.0  # contrast to the surrounding paper, relative to that paper's spread
MIN_DIGIT_SIDE = 0.015  # longer side, as a fraction of the picture's; anything smaller is a speck
# A digit may touch one side of the picture along this fraction of it, or fill the picture to this fraction of both
# sides, with few contacts to each: squared paper has many.
MAX_STROKE_AT_SIDE, MIN_FILLING, MAX_CONTACTS = 0.4, 0.85, 2
MAX_FLATNESS, MIN_UNDERLINE_FLATNESS = 2.0, 3.0  # width, relative to height, of a digit and of an underline
# A frame is convex, and what it encloses has at least this fraction of its longer side.
MIN_FRAME_CONVEXITY, MIN_FRAMED_SIDE = 0.85, 0.4
# A digit's outline has one hole with this fraction of its sides. It is not convex or the hole is narrow: not a 0.
MIN_HOLE_SIDE, MAX_OUTLINE_CONVEXITY, MAX_HOLE_WIDTH = 0.75, 0.88, 0.23
# A piece belongs to the digit up to this distance and from this size, relative to the digit's longer side.
MAX_GAP, MIN_PIECE_SIDE = 0.2, 0.2
MIN_PIECE_INK = 0.7  # a piece with a smaller fraction of the digit's ink is a shadow or a ruled line
MIN_OTHER_DIGIT_HEIGHT = 0.7  # of a separate digit, relative to this one; and the other way round
NUM_CANDIDATES = 8  # per level, largest first


class _Candidate(NamedTuple):
    """A connected piece of ink that may be the digit."""

    score: float  # high for large pieces with sharp edges of high contrast, unlike shadows and ruled lines
    contrast: float  # in grey levels
    mask: Mask  # (H, W)
    pieces: Pieces  # (H, W), labels of all pieces at the same threshold
    ink: Floats  # (H, W) in grey levels, smoothed


def find_digit(inks: Sequence[Floats]) -> tuple[Floats, Mask]:
    """The digit's ink (h, w), 0.5 at the edges of the strokes, and their mask (h, w); cropped with a margin.

    Of two inks (H, W) in grey levels, dark and light; one of them is the paper between the strokes.
    """
    best = [candidate for ink in inks if (candidate := _best_candidate(ink)) is not None]
    if not best:
        raise UserError("no digit found: nothing in the picture looks like a digit")
    best.sort(key=lambda candidate: candidate.score)
    other, main = best[0], best[-1]
    # The main piece may be the paper inside a 0, which can have more area than the 0 itself.
    if other.contrast >= main.contrast / 2 and ndimage.binary_fill_holes(other.mask)[main.mask].all():
        main = other
    digit, pieces = _within_frames(main.mask, main.pieces)
    ink = main.ink / float(np.median(main.ink[digit]))  # a frame may be darker
    filled = _fill_outline(digit, pieces)
    digit = _with_nearby_pieces(ink, pieces, digit) if filled is None else filled
    window = _enlarged(box_of(digit))
    return (ink if filled is None else np.where(filled, 1, ink))[window], digit[window]


def _best_candidate(ink: Floats) -> _Candidate | None:
    """The piece of ink, of one polarity, that looks most like a digit."""
    smooth, slope = ndimage.gaussian_filter(ink, 1), ndimage.gaussian_gradient_magnitude(ink, 1)
    best: _Candidate | None = None
    for level in np.multiply(LEVELS, smooth.max()):
        pieces, _ = ndimage.label(smooth > level, np.ones((3, 3)))
        boxes = [
            (number, box)
            for number, box in enumerate(ndimage.find_objects(pieces), start=1)
            if _longer_side(box) >= MIN_DIGIT_SIDE * max(ink.shape)
            and _length(box[1]) <= MAX_FLATNESS * _length(box[0])
            and not _is_cut_off(pieces, number, box)
        ]
        boxes.sort(key=lambda numbered: _longer_side(numbered[1]), reverse=True)
        for number, box in boxes[:NUM_CANDIDATES]:
            part = np.pad(pieces[box] == number, 1)
            edge = (part & ~ndimage.binary_erosion(part))[1:-1, 1:-1]
            edge_slope = float(slope[box][edge].mean())
            score = edge_slope**2 * (_length(box[0]) * _length(box[1])) ** 0.5
            if edge_slope >= MIN_SLOPE and (best is None or score > best.score):
                contrast = _contrast(smooth, pieces, number, box)
                best = _Candidate(score, contrast, pieces == number, pieces, smooth) if contrast else best
    return best


def _is_cut_off(pieces: Pieces, number: int, box: Box) -> bool:
    """Whether a piece is a shadow, a ruled line or another sheet of paper that continues beyond the picture."""
    sides = [side == number for side in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1])]
    if sum(side.any() for side in sides) < 2:
        return any(side.mean() > MAX_STROKE_AT_SIDE for side in sides)
    fills = all(_length(side) >= MIN_FILLING * whole for side, whole in zip(box, pieces.shape, strict=True))
    return not fills or any(ndimage.label(side)[1] > MAX_CONTACTS for side in sides)


def _contrast(ink: Floats, pieces: Pieces, number: int, box: Box) -> float:
    """The contrast of a piece to the paper around it, in grey levels; 0 if it is too low."""
    window = _enlarged(box)
    part = pieces[window] == number
    paper = ink[window][~ndimage.maximum_filter(part, 5)]  # without the blurred edge
    usual, most = np.quantile(paper, [0.5, 0.9]) if paper.size else (0, np.inf)
    contrast = float(ink[window][part].mean() - most)
    return contrast if contrast >= MIN_DISTINCTION * float(most - usual) else 0


def _within_frames(main: Mask, pieces: Pieces) -> tuple[Mask, Pieces]:
    """The largest piece within the main piece if that is a frame, such as a box or circle, and all pieces within."""
    filled = ndimage.binary_fill_holes(main)
    within = np.where(filled & ~main, pieces, 0)
    sides = [0 if box is None else _longer_side(box) for box in ndimage.find_objects(within)]
    is_frame = max(sides, default=0) >= MIN_FRAMED_SIDE * _longer_side(box_of(main))
    if not is_frame or _convexity(filled) < MIN_FRAME_CONVEXITY:
        return main, pieces
    return _within_frames(within == np.argmax(sides) + 1, within)


def _fill_outline(outline: Mask, pieces: Pieces) -> Mask | None:
    """The digit whose outline this is; None if this is the digit itself."""
    filled = ndimage.binary_fill_holes(outline)
    holes, num_holes = ndimage.label(filled & ~outline)
    hole = holes == np.bincount(holes.ravel())[1:].argmax() + 1 if num_holes else outline
    sides = zip(box_of(hole), box_of(outline), strict=True)
    if not num_holes or any(_length(inner) < MIN_HOLE_SIDE * _length(outer) for inner, outer in sides):
        return None
    # Rings within the outline are the edges of the digit's own holes, as in a 6.
    rings = hole & (pieces > 0)
    own_holes = ndimage.binary_fill_holes(rings) & ~rings
    width = stroke_width(hole[box_of(hole)]) / _longer_side(box_of(outline))
    if not own_holes.any() and _convexity(filled) > MAX_OUTLINE_CONVEXITY and width > MAX_HOLE_WIDTH:
        return None
    digit: Mask = (outline | hole) & ~own_holes
    return digit


def _convexity(mask: Mask) -> float:
    """Area of a mask as a fraction of its convex hull's."""
    points = np.argwhere(mask ^ ndimage.binary_erosion(mask))
    return float(mask.sum() / ConvexHull(points).volume) if min(np.ptp(points, axis=0)) > 0 else 1.0


def _with_nearby_pieces(ink: Floats, pieces: Pieces, main: Mask) -> Mask:
    """The mask (H, W) of the digit: the main piece and those nearby that are no dots, underlines or frames."""
    main_box = box_of(main)
    side = _longer_side(main_box)
    kept, own, min_ink = main, int(pieces[main].max()), MIN_PIECE_INK * ink[main].mean()
    others = {
        number: box
        for number, box in enumerate(ndimage.find_objects(pieces), start=1)
        if box is not None
        and number != own
        and _longer_side(box) >= MIN_PIECE_SIDE * side
        and not _is_cut_off(pieces, number, box)
        and not _is_underline_or_frame(box, main_box)
        and ink[box][pieces[box] == number].mean() >= min_ink
    }
    if any(_is_digit_beside(box, main_box) for box in others.values()):
        raise UserError("no digit found: more than one digit in the picture: crop it to one digit")
    while near := others.keys() & set(np.unique(pieces[ndimage.distance_transform_edt(~kept) <= MAX_GAP * side])):
        kept = kept | np.isin(pieces, list(near))
        others = {number: box for number, box in others.items() if number not in near}
    return kept


def _is_underline_or_frame(box: Box, main_box: Box) -> bool:
    is_flat = _length(box[1]) >= MIN_UNDERLINE_FLATNESS * _length(box[0])
    is_below = (box[0].start + box[0].stop) / 2 >= main_box[0].stop
    around = all(out.start <= side.start and side.stop <= out.stop for out, side in zip(box, main_box, strict=True))
    return bool(around or (is_flat and is_below))


def _is_digit_beside(box: Box, main_box: Box) -> bool:
    """Whether a piece is another digit; pieces above each other are strokes, as in a 3 with separate bowls."""
    (rows, columns), (main_rows, main_columns) = box, main_box
    ratio = _length(rows) / _length(main_rows)
    apart = bool(columns.stop <= main_columns.start or main_columns.stop <= columns.start)
    return apart and MIN_OTHER_DIGIT_HEIGHT <= ratio <= 1 / MIN_OTHER_DIGIT_HEIGHT


def _longer_side(box: Box) -> int:
    return max(map(_length, box))


def _length(side: slice) -> int:
    return int(side.stop) - int(side.start)


def _enlarged(box: Box) -> Box:
    """The box with a margin of a tenth."""
    margin = max(3, _longer_side(box) // 10)
    rows, columns = (slice(max(0, side.start - margin), side.stop + margin) for side in box)
    return rows, columns
