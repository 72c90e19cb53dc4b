"""Image files: finds and reads them, also damaged ones, and a data set of them: `train/CLASS/*` and `test/CLASS/*`."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mnist_lightning.data.batches import UNKNOWN, LabelledImages
from mnist_lightning.errors import UserError

# The formats of cameras, scanners and drawing programs. Pillow ignores the file's name, and would let Ghostscript run a
# PostScript file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
IMAGE_KINDS = "BMP, GIF, JPEG, PNG, PPM, TIFF and WebP"
# 64 megapixels, as from a phone, take up to 0.7 GB of memory here.
MAX_PIXELS = 70_000_000
# A JPEG is decoded at the smallest size that has at least this many pixels a side: what `read` works at.
MIN_DECODED_SIDE = 800
LAYOUT = (
    "A data set `folder` is DATA_DIR/train/CLASS/* and DATA_DIR/test/CLASS/*, or DATA_DIR/CLASS/*; name DATA_DIR with "
    f"--data.data_dir or --data_dir. Formats: {IMAGE_KINDS}."
)


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and its subfolders, also in linked ones, sorted, without hidden ones."""
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in {*FORMATS, "MPO"}}
    images: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        # A link to a folder around itself would not end.
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        images += [Path(place, name) for name in names if real not in seen and not name.startswith(".")]
        seen.add(real)
    return sorted(path for path in images if path.suffix.lower() in suffixes)


def read_image(source: str | Path | bytes) -> Image.Image:
    """Reads the first image in a file, or in its content; a large JPEG is decoded at reduced size."""
    try:
        # Not by path: Pillow 12 would map a rotated, uncompressed TIFF with its sides exchanged.
        content = io.BytesIO(source if isinstance(source, bytes) else Path(source).read_bytes())
        ignored = warnings.catch_warnings(action="ignore")  # broken metadata does not matter
        with ignored, Image.open(content, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"too large: {width:,} × {height:,} pixels; the limit is {MAX_PIXELS:,}")
            image.draft(None, (MIN_DECODED_SIDE, MIN_DECODED_SIDE))
            image.load()
            return image
    except UnidentifiedImageError:
        raise UserError(f"not an image in a supported format: {IMAGE_KINDS}") from None
    except IsADirectoryError:
        raise UserError("a folder without image files") from None
    except UserError:
        raise
    except Exception as error:  # on a damaged file, Pillow's decoders can raise anything
        raise UserError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def find_classes(data_dir: str) -> tuple[str, ...]:
    """The classes of a data set: the names of the folders in `train`, or in the directory itself, sorted.

    Empty if it holds images, but no folders.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder. {LAYOUT}")
    if odd := [name for name in _folders(root) if name.lower() in ("train", "test") and name != name.lower()]:
        raise UserError(f"{root / odd[0]}: call the folders `train` and `test`. {LAYOUT}")
    train, test = (_folders(root / part) for part in ("train", "test"))
    if not _has_parts(root):
        train = _folders(root)
        if not train and images_below(root):
            return ()
    if len(train) < 2:
        raise UserError(f"{root} needs a folder for each of at least two classes. {LAYOUT}")
    if unknown := sorted(set(test) - set(train)):
        raise UserError(f"{root / 'test' / unknown[0]} has no class of this name in train. {LAYOUT}")
    return tuple(train)


def _has_parts(root: Path) -> bool:
    return (root / "train").is_dir() or (root / "test").is_dir()


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def files_of_test_images(data_dir: str) -> list[Path]:
    """The files of the test images, in the order of `read_image_folder`."""
    classes = find_classes(data_dir)
    folders = [Path(data_dir, "test", name) for name in classes] if classes else [Path(data_dir)]
    return [path for folder in folders for path in images_below(folder)]


def read_image_folder(data_dir: str, padding: int = 0) -> tuple[LabelledImages, LabelledImages | None]:
    """Reads training and test images as `grey_square` makes them.

    The labels are indices into `find_classes`. Without `train`, all images are training images; without classes, they
    are test images of UNKNOWN class.
    """
    names = find_classes(data_dir)
    if not names:
        nothing = LabelledImages(torch.empty(0, 1, 28, 28, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
        images = torch.stack([_read_grey(path, padding) for path in files_of_test_images(data_dir)])
        return nothing, LabelledImages(images, torch.full((len(images),), UNKNOWN))
    has_parts = _has_parts(Path(data_dir))
    train = [images_below(Path(data_dir, "train" if has_parts else "", name)) for name in names]
    test = [images_below(Path(data_dir, "test", name)) for name in names]
    if not all(train) or (has_parts and not any(test)):
        folder = Path("train" if has_parts else "", names[train.index([])]) if [] in train else "test"
        raise UserError(f"{Path(data_dir, folder)} has no images. {LAYOUT}")
    return _read_classes(train, padding), _read_classes(test, padding) if has_parts else None


def _read_classes(classes: list[list[Path]], padding: int) -> LabelledImages:
    images = [_read_grey(path, padding) for paths in classes for path in paths]
    labels = [label for label, paths in enumerate(classes) for _ in paths]
    return LabelledImages(torch.stack(images), torch.tensor(labels))


def _read_grey(path: Path, padding: int) -> Tensor:
    """An image (1, 28, 28) uint8."""
    try:
        return grey_square(read_image(path), padding)
    except UserError as error:
        raise UserError(f"{path} {error}. Replace or delete it.") from None


def grey_square(image: Image.Image, padding: int = 0) -> Tensor:
    """The image (1, 28, 28) uint8: grey, the longer side resized to 28 pixels, the other padded with this grey."""
    try:
        if image.mode.startswith(("I", "F")):
            raise UserError("cannot be read (it has more than 8 bits per pixel)")
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise UserError("is transparent: give it a background")
        grey = ImageOps.exif_transpose(image).convert("L")
        grey = ImageOps.pad(grey, (28, 28), Image.Resampling.BILINEAR, color=padding)
    except UserError:
        raise
    except Exception as error:  # Pillow can raise anything on broken EXIF data, or on a very narrow image
        raise UserError(f"cannot be read ({error})") from None
    return torch.from_numpy(np.array(grey)).unsqueeze(0)
