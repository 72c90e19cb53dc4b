"""A data set as a folder of image files: `train/CLASS/*` and `test/CLASS/*`."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from mnist_lightning.data import IMAGE_KINDS
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.image_files import images_below, read_image
from mnist_lightning.errors import UserError

LAYOUT = (
    "--data.dataset folder reads DATA_DIR/train/CLASS/* and DATA_DIR/test/CLASS/*; name DATA_DIR with --data.data_dir "
    f"(`report` and `export`: --data_dir). Formats: {IMAGE_KINDS}."
)


def find_classes(data_dir: str) -> tuple[str, ...]:
    """The classes: the names of the folders in `train`, sorted.

    Raises:
        UserError: a folder is missing, there are fewer than two classes, or `test` has a class of its own.
    """
    train, test = (_folders_in(Path(data_dir, part)) for part in ("train", "test"))
    if len(train) < 2:
        raise UserError(f"{Path(data_dir, 'train')} needs a folder for each of at least two classes. {LAYOUT}")
    if unknown := sorted(set(test) - set(train)):
        raise UserError(f"{Path(data_dir, 'test', unknown[0])} has no class of this name in train. {LAYOUT}")
    return tuple(train)


def read_image_folder(data_dir: str) -> tuple[LabelledImages, LabelledImages]:
    """Reads all images: grey, the longer side resized to 28 pixels, the shorter one filled up with black.

    Returns:
        Training set and test set: images (N, 1, 28, 28) uint8 and labels (N,) int64, indices into the names
        that `find_classes` returns.

    Raises:
        UserError: as `find_classes`; or there are no images, or one cannot be read.
    """
    class_names = find_classes(data_dir)
    return _read_part(Path(data_dir, "train"), class_names), _read_part(Path(data_dir, "test"), class_names)


def _read_part(folder: Path, class_names: tuple[str, ...]) -> LabelledImages:
    images, labels = [], []
    for label, name in enumerate(class_names):
        paths = images_below(folder / name)
        images += [_read_image(path) for path in paths]
        labels += [label] * len(paths)
        if not paths and folder.name == "train":
            raise UserError(f"{folder / name} has no images. {LAYOUT}")
    if not images:
        raise UserError(f"{folder} has no images. {LAYOUT}")
    return LabelledImages(torch.stack(images), torch.tensor(labels))


def _read_image(path: Path) -> Tensor:
    """An image (1, 28, 28) uint8."""
    try:
        image = read_image(path)
        if image.mode.startswith(("I", "F")):
            raise UserError("cannot be read (it has more than 8 bits per pixel)")
        if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise UserError("is transparent: give it a background")
        grey = ImageOps.pad(ImageOps.exif_transpose(image).convert("L"), (28, 28), Image.Resampling.BILINEAR)
    except UserError as error:
        raise UserError(f"{path} {error}. Replace or delete it.") from None
    except Exception as error:  # Pillow can raise anything on broken EXIF data, or on a very narrow image
        raise UserError(f"{path} cannot be read ({error}). Replace or delete it.") from None
    return torch.from_numpy(np.array(grey)).unsqueeze(0)


def _folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}). {LAYOUT}") from None
