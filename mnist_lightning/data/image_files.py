"""Image files: finds and reads them, also damaged ones, and a data set of them: `train/CLASS/*` and `test/CLASS/*`."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mnist_lightning.data import IMAGE_KINDS
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.errors import UserError

# The formats of cameras, scanners and drawing programs. Pillow ignores the file's name, and would let Ghostscript run a
# PostScript file.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# 64 megapixels, as from a phone, take up to 0.7 GB of memory here.
MAX_PIXELS = 70_000_000
# A JPEG is decoded at the smallest size that has at least this many pixels a side: what `read` works at.
MIN_DECODED_SIDE = 800
LAYOUT = (
    "--data.dataset folder reads DATA_DIR/train/CLASS/* and DATA_DIR/test/CLASS/*; name DATA_DIR with --data.data_dir "
    f"(`report` and `export`: --data_dir). Formats: {IMAGE_KINDS}."
)


def find_images(names: Iterable[str]) -> list[Path]:
    """The files in the order of `names`; a folder is replaced by all images below it.

    Folders without images and missing files stay in the list; `read_image` reports them.
    """
    return [path for name in names for path in (images_below(Path(name)) or [Path(name)])]


def images_below(folder: Path, around: tuple[Path, ...] = ()) -> list[Path]:
    """The images in a folder and its subfolders, also in linked ones, sorted, without hidden ones.

    A link to a folder `around` itself is not followed, because it would not end.
    """
    real = Path(os.path.realpath(folder))
    is_folder = os.path.isdir(folder)  # noqa: PTH112  (Path.is_dir raises on a name that is too long)
    if not is_folder or any(outer.is_relative_to(real) for outer in around):
        return []
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in {*FORMATS, "MPO"}}
    images = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if path.is_dir():
            images += images_below(path, (*around, real))
        elif path.suffix.lower() in suffixes:
            images.append(path)
    return images


def read_image(path: Path) -> Image.Image:
    """Reads the first image in a file; a large JPEG is decoded at reduced size."""
    try:
        if path.is_dir():
            raise UserError("a folder without image files")
        if not path.is_file():
            raise UserError("not a file" if path.exists() else "no such file")
        ignored = warnings.catch_warnings(action="ignore")  # broken metadata does not matter
        # Not by path: Pillow 12 would map a rotated, uncompressed TIFF with its sides exchanged.
        with ignored, path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(f"too large: {width:,} × {height:,} pixels; the limit is {MAX_PIXELS:,}")
            image.draft(None, (MIN_DECODED_SIDE, MIN_DECODED_SIDE))
            image.load()
            return image
    except UnidentifiedImageError:
        raise UserError(f"not an image in a supported format: {IMAGE_KINDS}") from None
    except UserError:
        raise
    except Exception as error:  # on a damaged file, Pillow's decoders can raise anything
        raise UserError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def find_classes(data_dir: str) -> tuple[str, ...]:
    """The classes of a data set: the names of the folders in `train`, sorted, without hidden ones."""
    parts = (Path(data_dir, part) for part in ("train", "test"))
    train, test = (sorted(path.name for path in part.glob("[!.]*") if path.is_dir()) for part in parts)
    if len(train) < 2:
        raise UserError(f"{Path(data_dir, 'train')} needs a folder for each of at least two classes. {LAYOUT}")
    if unknown := sorted(set(test) - set(train)):
        raise UserError(f"{Path(data_dir, 'test', unknown[0])} has no class of this name in train. {LAYOUT}")
    return tuple(train)


def read_image_folder(data_dir: str) -> tuple[LabelledImages, LabelledImages]:
    """Reads training and test images: grey, the longer side resized to 28 pixels, the shorter one filled up with black.

    The labels are indices into `find_classes`.
    """
    names = find_classes(data_dir)
    train, test = ([images_below(Path(data_dir, part, name)) for name in names] for part in ("train", "test"))
    if not all(train) or not any(test):
        folder = Path("train", names[train.index([])]) if [] in train else "test"
        raise UserError(f"{Path(data_dir, folder)} has no images. {LAYOUT}")
    return _read_classes(train), _read_classes(test)


def _read_classes(classes: list[list[Path]]) -> LabelledImages:
    images = [_read_grey(path) for paths in classes for path in paths]
    labels = [label for label, paths in enumerate(classes) for _ in paths]
    return LabelledImages(torch.stack(images), torch.tensor(labels))


def _read_grey(path: Path) -> Tensor:
    """An image (1, 28, 28) uint8."""
    try:
        image = read_image(path)
        if image.mode.startswith(("I", "F")):
            raise UserError("cannot be read (it has more than 8 bits per pixel)")
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise UserError("is transparent: give it a background")
        grey = ImageOps.pad(ImageOps.exif_transpose(image).convert("L"), (28, 28), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow can raise anything on broken EXIF data, or on a very narrow image
        problem = error if isinstance(error, UserError) else f"cannot be read ({error})"
        raise UserError(f"{path} {problem}. Replace or delete it.") from None
    return torch.from_numpy(np.array(grey)).unsqueeze(0)
