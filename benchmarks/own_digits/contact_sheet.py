"""A contact sheet: pictures, each beside its prepared image and the prediction."""

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw
from torch import Tensor

NUM_COLUMNS = 12
TILE_SIDE = 64  # pixels, of the picture and of the prepared image
CAPTION_HEIGHT = 14
BACKGROUND, RIGHT, WRONG = (40, 40, 40), (220, 220, 220), (255, 120, 100)


class Tile(NamedTuple):
    """One picture on the sheet."""

    picture: Image.Image
    prepared: Tensor | None  # (28, 28) uint8; None if no digit was found
    caption: str
    is_right: bool


def contact_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """Arranges the tiles in rows; reduced to 128 colours for a small file."""
    width, height = 2 * TILE_SIDE + 6, TILE_SIDE + CAPTION_HEIGHT + 4
    num_rows = -(-len(tiles) // NUM_COLUMNS)
    sheet = Image.new("RGB", (NUM_COLUMNS * width, max(1, num_rows) * height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        x, y = number % NUM_COLUMNS * width, number // NUM_COLUMNS * height
        draw.text((x + 2, y), tile.caption, fill=RIGHT if tile.is_right else WRONG)
        small = tile.picture.convert("RGB")
        small.thumbnail((TILE_SIDE, TILE_SIDE))
        sheet.paste(small, (x, y + CAPTION_HEIGHT))
        if tile.prepared is not None:
            image = Image.fromarray(tile.prepared.numpy()).resize((TILE_SIDE, TILE_SIDE), Image.Resampling.NEAREST)
            sheet.paste(image, (x + TILE_SIDE + 1, y + CAPTION_HEIGHT))
    return sheet.quantize(128)
