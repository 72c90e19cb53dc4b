"""Finds and reads image files, including damaged ones."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mnist_lightning.data import IMAGE_KINDS
from mnist_lightning.errors import UserError

# The formats of cameras, scanners and drawing programs. Pillow ignores the file's name, and would let Ghostscript run a
# PostScript file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# 64 megapixels, as from a phone, take up to 0.7 GB of memory here, and three times as much in a single column.
MAX_PIXELS = 70_000_000
MAX_SIDE = 20_000
# A JPEG is decoded at the smallest size that has at least this many pixels a side: what `read` works at.
MIN_DECODED_SIDE = 800


def find_images(names: Iterable[str]) -> list[Path]:
    """The files in the order of `names`; a folder is replaced by all images below it, sorted, without hidden ones.

    Folders without images and missing files stay in the list; `read_image` reports them.
    """
    return [path for name in names for path in (images_below(Path(name)) or [Path(name)])]


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, sorted, without hidden ones."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in {*FORMATS, "MPO"}}
    try:
        return sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        )
    except OSError:  # for example, the name is too long
        return []


def read_image(path: Path) -> Image.Image:
    """Reads the first image in a file; a large JPEG is decoded at reduced size.

    Raises:
        UserError: the file is missing, not an image of a supported format, damaged or too large.
    """
    try:
        if path.is_dir():
            raise UserError("a folder without image files")
        if not path.is_file():
            raise UserError("not a file" if path.exists() else "no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken metadata does not matter
            # Not by path: Pillow 12 would map a rotated, uncompressed TIFF with its sides exchanged.
            with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
                    raise _too_large(f"{width:,} × {height:,}")
                image.draft(None, (MIN_DECODED_SIDE, MIN_DECODED_SIDE))
                image.load()
                return image
    except Image.DecompressionBombError as error:  # Pillow's limit is higher, but checked first
        raise _too_large(f"{int(re.findall(r'[0-9]+', str(error))[0]):,}") from None
    except UnidentifiedImageError:
        raise UserError(f"not an image in a supported format: {IMAGE_KINDS}") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error})") from None
    except UserError:
        raise
    except Exception as error:  # on a damaged file, Pillow's decoders can raise anything
        raise UserError(f"cannot be read ({type(error).__name__})") from None


def _too_large(size: str) -> UserError:
    return UserError(f"too large: {size} pixels; the limits are {MAX_PIXELS:,} pixels and {MAX_SIDE:,} per side")
