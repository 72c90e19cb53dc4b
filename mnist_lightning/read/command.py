"""`python -m mnist_lightning read`: reads the digits in image files, and prints a line for each."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.errors import SettingError
from mnist_lightning.options.commands import command_parser, use_threads
from mnist_lightning.read.image_files import KINDS, find_images
from mnist_lightning.read.reading import ReadDigit, read_digit, row_of
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.outputs import check_output, write_rows


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["photo.png", "scans/"])`."""
    parser = command_parser(read, positional=("images",))
    parser.add_argument("images", nargs="+", type=PathText, help=f"Image files, and folders of them: {KINDS}.")
    read(**parser.parse_args(list(args)).as_dict())


def read(
    images: list[str],
    ckpt_path: PathText = "models/mnist.ckpt",
    output: PathText | None = None,
    prepared: PathText | None = None,
    num_threads: Threads | None = None,
) -> None:
    """Read the digit in each of several pictures, and print a line for each.

    Args:
        images: Image files, and folders of them.
        ckpt_path: The checkpoint of the network that reads.
        output: A new file for the results: FILE.csv or FILE.json.
        prepared: A new folder for the 28 × 28 images that the pictures were brought to, under the names of their files.
        num_threads: Threads on the CPU; by default one for each core.

    Raises:
        SystemExit: status 1 if a picture did not hold a digit, or its prepared image was not written.
        SettingError: results could not be written where they shall be.
        CheckpointError: the checkpoint cannot be read.
    """
    use_threads(num_threads)
    if output is not None:
        check_output(Path(output), ".csv", ".json")
    if prepared is not None:
        _check_new_folder(Path(prepared))
    classifier = load_classifier(ckpt_path)
    paths = find_images(images)
    names = [_printable(path) for path in paths]
    width = max(map(len, ["file", *names]))
    print(f"{'file':{width}}  digit  probability  runner-up")
    rows, used = [], set[str]()
    for path, name in zip(paths, names, strict=True):
        result = read_digit(classifier, path)
        row = row_of(name, result)
        if isinstance(result, ReadDigit):
            line = f"{name:{width}}  {result.digit:5}  {_percent(result.probability):>11}  "
            line += f"{result.runner_up} ({_percent(result.runner_up_probability)})"
            if prepared is not None and (problem := _write_prepared(result.prepared, path, Path(prepared), used)):
                row, line = {**row, "problem": problem}, f"{line}  {problem}"
        else:
            line = f"{name:{width}}      –  {result.text}"
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
            raise SettingError(f"--prepared {folder}: there are files in it already. Name a new folder.")
    except OSError as error:
        raise SettingError(
            f"--prepared {folder}: no folder can be made there ({error.strerror}). Name another."
        ) from None


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _printable(path: object) -> str:
    """The path on one line; what a terminal or a file in UTF-8 cannot hold is a question mark."""
    return "".join(character if character.isprintable() else "?" for character in str(path))


def _write_prepared(image: Tensor, path: Path, folder: Path, used: set[str]) -> str | None:
    """Writes the prepared image (28, 28) uint8 of a picture below --prepared; returns what was in the way, if anything.

    Args:
        image: the image.
        path: of the picture.
        folder: what --prepared names.
        used: the names below --prepared that are taken; is added to.
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
    """A name below --prepared for a picture: its own path, less what leads out of a folder, as PNG.

    Where several have it, the others keep their suffixes too, and get numbers.
    """
    folders = [_printable(part) for part in path.parent.parts if part not in (path.anchor, "..")]
    endings = [("", ""), (path.suffix, ""), *((path.suffix, f"-{number}") for number in range(2, len(used) + 3))]
    names = ("/".join([*folders, _cut(_printable(path.stem + suffix), f"{end}.png")]) for suffix, end in endings)
    name = next(name for name in names if name.casefold() not in used)
    used.add(name.casefold())
    return name


def _cut(name: str, end: str) -> str:
    """The name with this end, and without what is too long for a file system's 255 bytes."""
    return name.encode()[: 255 - len(end)].decode(errors="ignore") + end
