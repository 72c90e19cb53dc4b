"""Reads the digits in image files: a line for each, and files of results and prepared images."""

import io
import sys
from pathlib import Path

from PIL import Image
from torch import Tensor

from mnist_lightning.data.datasets import DIGITS
from mnist_lightning.data.image_files import find_images
from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.files import atomic_write, check_output, write_rows
from mnist_lightning.options import use_threads
from mnist_lightning.read.reading import ReadDigit, read_digit, result_row
from mnist_lightning.runs.checkpoint import load_classifier


def print_digits(
    images: list[str], ckpt_path: str, output: str | None, prepared: str | None, num_threads: int | None
) -> None:
    """Runs the command `read`, whose arguments these are."""
    use_threads(num_threads)
    if output is not None:
        check_output(Path(output), ".csv", ".json")
    if prepared is not None:
        _check_new_folder(Path(prepared))
    classifier = load_classifier(ckpt_path)
    if classifier.class_names != DIGITS:
        raise CheckpointError(
            f"--ckpt_path {ckpt_path}: `read` recognises digits, but this network was trained on the classes "
            f"{', '.join(classifier.class_names)}. Name a checkpoint of digits."
        )
    paths = find_images(images)
    names = [_printable(path) for path in paths]
    width = max(map(len, ["file", *names]))
    print(f"{'file':{width}}  digit  probability  runner-up")
    rows, used = [], set[str]()
    for path, name in zip(paths, names, strict=True):
        result = read_digit(classifier, path)
        row = result_row(name, result)
        if result.problem is not None:
            line = f"{name:{width}}  {'?' if isinstance(result, ReadDigit) else '–':>5}  {result.problem}"
        else:
            line = f"{name:{width}}  {result.digit:5}  {result.probability:>11.2%}  "
            line += f"{result.runner_up} ({result.runner_up_probability:.2%})"
        if prepared is not None and isinstance(result, ReadDigit):
            problem = _write_prepared(result.prepared, path, Path(prepared), used)
            row, line = ({**row, "problem": problem}, f"{line}  {problem}") if problem else (row, line)
        rows.append(row)
        print(line, flush=True)
    if output is not None:
        write_rows(Path(output), rows)
    if any(row["problem"] is not None for row in rows):
        sys.exit(1)


def _check_new_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(f"--prepared {folder} is not empty. Use a new folder.")
    except OSError as error:
        raise UserError(
            f"--prepared {folder}: cannot create the folder ({error.strerror}). Use another path."
        ) from None


def _printable(path: object) -> str:
    """The path on one line, with a question mark for each character that is not printable."""
    return "".join(character if character.isprintable() else "?" for character in str(path))


def _write_prepared(image: Tensor, path: Path, folder: Path, used: set[str]) -> str | None:
    """Writes a prepared image (28, 28) uint8 as PNG and returns the error message, or None on success.

    Args:
        image: the prepared image.
        path: the original image file.
        folder: the folder of --prepared.
        used: names in that folder that are taken; this function adds one.
    """
    content = io.BytesIO()
    Image.fromarray(image.numpy()).save(content, "PNG")
    name = _unused(path, used)
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, content.getvalue())
    except OSError as error:
        return f"--prepared: {name} cannot be written ({error.strerror})"
    return None


def _unused(path: Path, used: set[str]) -> str:
    """A PNG name in --prepared for an image file: its path without the root and without `..`.

    If the name is taken, the file's suffix is kept too, and then a number is added.
    """
    folders = [_printable(part) for part in path.parent.parts if part not in (path.anchor, "..")]
    endings = [("", ""), (path.suffix, ""), *((path.suffix, f"-{number}") for number in range(2, len(used) + 3))]
    names = ("/".join([*folders, _cut(_printable(path.stem + suffix), f"{end}.png")]) for suffix, end in endings)
    name = next(name for name in names if name.casefold() not in used)
    used.add(name.casefold())
    return name


def _cut(name: str, end: str) -> str:
    """The name plus `end`, cut to the 255 bytes that file systems allow."""
    return name.encode()[: 255 - len(end)].decode(errors="ignore") + end
