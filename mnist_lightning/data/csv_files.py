"""Images in CSV files, as in Kaggle's Digit Recognizer: `train.csv` and `test.csv`, one image per row."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_lightning.data.batches import UNKNOWN, LabelledImages
from mnist_lightning.errors import UserError

NUM_PIXELS = 28 * 28
LAYOUT = "A row holds 784 whole numbers up to 255, line by line, and before them the label, which test.csv may lack."


def read_csv_files(data_dir: str) -> tuple[tuple[str, ...], LabelledImages, LabelledImages]:
    """The names of the classes, sorted; training and test images, which are of UNKNOWN class without labels."""
    train_path, test_path = (Path(data_dir, f"{part}.csv") for part in ("train", "test"))
    images, names = _read(train_path)
    test_images, test_names = _read(test_path)
    classes = sorted(set(names), key=lambda name: name.zfill(9) if name.isdecimal() else name)  # 9 before 10
    label_of = {name: label for label, name in enumerate(classes)}
    if len(classes) < 2:
        raise UserError(f"{train_path} holds fewer than two classes. {LAYOUT}")
    if unknown := set(test_names) - set(classes):
        raise UserError(f"{test_path} holds the label {min(unknown)!r}, which {train_path} lacks.")
    labels = [label_of[name] for name in names]
    test_labels = [label_of[name] for name in test_names] or [UNKNOWN] * len(test_images)
    train, test = LabelledImages(images, torch.tensor(labels)), LabelledImages(test_images, torch.tensor(test_labels))
    return tuple(classes), train, test


def _read(path: Path) -> tuple[Tensor, list[str]]:
    """The images (N, 1, 28, 28) uint8 of a file, and their labels if it holds any. Its header is optional."""
    if not path.is_file():
        raise UserError(f"there is no {path}. Name the folder of train.csv and test.csv with --data.data_dir.")
    rows = path.read_text(encoding="utf-8-sig").replace('"', "").rstrip().splitlines()  # without empty rows at the end
    first = 1 if rows and not any(cell.strip().isdecimal() for cell in rows[0].split(",")) else 0
    has_labels = len(rows) > first and rows[first].count(",") == NUM_PIXELS
    cells = [row.partition(",")[::2] if has_labels else ("", row) for row in rows[first:]]
    pixels = _pixels([row for _, row in cells])
    if pixels is None:
        damaged = (number for number, (_, row) in enumerate(cells, first + 1) if _pixels([row]) is None)
        raise UserError(f"{path}, row {next(damaged, 1)} is not an image. {LAYOUT}")
    return pixels, [label.strip() for label, _ in cells] if has_labels else []


def _pixels(rows: list[str]) -> Tensor | None:
    """The images (N, 1, 28, 28) uint8 of N rows of 784 numbers; None if one is damaged, or there is none."""
    if not rows or any(row.count(",") != NUM_PIXELS - 1 for row in rows):
        return None
    with warnings.catch_warnings(action="ignore"):  # of a cell that is no number
        try:
            values = np.fromstring(",".join(rows), dtype=np.int32, sep=",")
        except ValueError:
            return None
    if len(values) != len(rows) * NUM_PIXELS or values.min() < 0 or values.max() > 255:
        return None
    return torch.from_numpy(values.astype(np.uint8)).view(-1, 1, 28, 28)
