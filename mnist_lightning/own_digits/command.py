"""`predict --images`: reads the digits in image files, and prints a line for each."""

import io
from pathlib import Path

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from PIL import Image
from torch import Tensor

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import SettingError
from mnist_lightning.option_types import PathText
from mnist_lightning.output_files import check_output, write_rows
from mnist_lightning.own_digits.image_files import find_images
from mnist_lightning.own_digits.reading import ReadDigit, read_digit, row_of
from mnist_lightning.whole_files import replace_file


def add_predict_options(parser: LightningArgumentParser) -> None:
    """Adds to `predict` the options that the other subcommands do not have."""
    parser.add_argument(
        "--images",
        type=PathText,
        nargs="+",
        default=None,
        help="Image files, and folders of them, to read a digit from each; by default the data set's test images.",
    )
    parser.add_argument(
        "--output", type=PathText | None, default=None, help="A new file for the results: FILE.csv or FILE.json."
    )
    parser.add_argument(
        "--prepared",
        type=PathText | None,
        default=None,
        help="A new folder for the 28 × 28 images that --images were brought to.",
    )


def check_predict_options(config: Namespace) -> None:
    """Checks what can be known before any work.

    Raises:
        SettingError: results could not be written where they shall be.
    """
    if config.output is not None:
        check_output(Path(config.output), ".csv", ".json")
    if config.prepared is None:
        return
    if config.images is None:
        raise SettingError("--prepared is for --images: the test images need no preparation. Leave it away.")
    folder = Path(config.prepared)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise SettingError(f"--prepared {folder}: there are files in it already. Name a new folder.")
    except OSError as error:
        raise SettingError(
            f"--prepared {folder}: no folder can be made there ({error.strerror}). Name another."
        ) from None


def read_images(classifier: DigitClassifier, config: Namespace) -> bool:
    """Prints a table of the digits in image files, and writes what was asked for.

    Args:
        classifier: in evaluation mode.
        config: `images`, `output` and `prepared`.

    Returns:
        Whether a digit was read in each.
    """
    paths = find_images(config.images)
    names = [_printable(path) for path in paths]
    width = max(map(len, ["file", *names]))
    print(f"{'file':{width}}  digit  probability  runner-up")
    rows, stems = [], set[str]()
    for path, name in zip(paths, names, strict=True):
        result = read_digit(classifier, path)
        rows.append(row_of(name, result))
        if not isinstance(result, ReadDigit):
            print(f"{name:{width}}      –  {result.text}", flush=True)
            continue
        print(
            f"{name:{width}}  {result.digit:5}  {_percent(result.probability):>11}  "
            f"{result.runner_up} ({_percent(result.runner_up_probability)})",
            flush=True,
        )
        if config.prepared is not None:
            stem = _unused(_printable(path.stem)[:100], stems)  # with a suffix it stays within a file system's 255
            stems.add(stem)
            _write_png(Path(config.prepared) / f"{stem}.png", result.prepared)
    if config.output is not None:
        write_rows(Path(config.output), rows)
    return all(row["problem"] is None for row in rows)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _printable(path: object) -> str:
    """The path on one line; what a terminal or a file in UTF-8 cannot hold is a question mark."""
    return "".join(character if character.isprintable() else "?" for character in str(path))


def _unused(stem: str, used: set[str]) -> str:
    """The name, with a number if files of other folders have it too."""
    numbered = (f"{stem}-{number}" for number in range(2, len(used) + 3))
    return stem if stem not in used else next(name for name in numbered if name not in used)


def _write_png(path: Path, image: Tensor) -> None:
    """Writes an image (28, 28) uint8.

    Raises:
        SettingError: the file cannot be written.
    """
    file = io.BytesIO()
    Image.fromarray(image.numpy()).save(file, "PNG")
    try:
        replace_file(path, file.getvalue())
    except OSError as error:
        raise SettingError(f"--prepared: {path} cannot be written ({error.strerror}). Name another folder.") from None
