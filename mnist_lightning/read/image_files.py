"""Image files: which ones the given names mean, and their pictures, whatever state the files are in."""

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mnist_lightning.errors import ImageFileError
from mnist_lightning.read.ink import LARGEST_SIDE

# What cameras, scanners and drawing programs write. Pillow goes by what is in a file, whatever its name is, and would
# hand PostScript to another program to be run.
KINDS = "BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# A phone's 64 megapixels take up to 0.7 GB of memory here; in a single column they took three times as much.
MAX_PIXELS = 70_000_000
MAX_SIDE = 20_000


def find_images(names: Iterable[str]) -> list[Path]:
    """The files, in the order of the names; a folder stands for the images in and below it, sorted, none hidden.

    A folder without images, and what does not exist, stay in the list: to read them says what is wrong.
    """
    return [path for name in names for path in (_images_below(Path(name)) or [Path(name)])]


def _images_below(folder: Path) -> list[Path]:
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in {*FORMATS, "MPO"}}
    try:
        return sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        )
    except OSError:  # such as a name that is too long
        return []


def read_image(path: Path) -> Image.Image:
    """The picture in a file, the first where there are several; a large JPEG is decoded at a part of its size.

    Raises:
        ImageFileError: there is none, or none that can be read.
    """
    try:
        if path.is_dir():
            raise ImageFileError("a folder without image files")
        if not path.is_file():
            raise ImageFileError("not a file" if path.exists() else "no such file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that is broken, in a picture that is not
            # Not by its name: Pillow 12 maps an uncompressed TIFF that is turned with its sides exchanged.
            with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
                    raise _too_large(f"{width:,} × {height:,}")
                image.draft(None, (LARGEST_SIDE, LARGEST_SIDE))
                image.load()
                return image
    except Image.DecompressionBombError as error:  # Pillow's bound is higher, but comes first
        raise _too_large(f"{int(re.findall(r'[0-9]+', str(error))[0]):,}") from None
    except UnidentifiedImageError:
        raise ImageFileError(f"not a picture of a kind that is read: {KINDS}") from None
    except OSError as error:
        raise ImageFileError(f"cannot be read ({error.strerror or error})") from None
    except ImageFileError:
        raise
    except Exception as error:  # a damaged file can make Pillow's decoders raise anything
        raise ImageFileError(f"cannot be read ({type(error).__name__})") from None


def _too_large(size: str) -> ImageFileError:
    return ImageFileError(f"{size} pixels; at most {MAX_PIXELS:,} are read, and {MAX_SIDE:,} a side")
