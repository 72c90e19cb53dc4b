"""The file that `--output` names, which must be new; and rows in it, as CSV or JSON by its suffix."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lightning.errors import SettingError
from mnist_lightning.runs.files import atomic_write

Row = Mapping[str, Any]


def check_output(path: Path, *suffixes: str) -> None:
    """Checks that a new file can be written, before any work.

    Args:
        path: the file.
        suffixes: the endings that its name may have.

    Raises:
        SettingError: its ending is another, the file exists, or its folder does not.
    """
    if path.suffix not in suffixes:
        raise SettingError(f"--output {path}: name a file that ends in {' or '.join(suffixes)}.")
    try:
        if path.exists():
            raise SettingError(f"--output {path} exists already. Name another file, or delete this one first.")
        if not path.parent.is_dir():
            raise SettingError(f"--output {path}: there is no folder {path.parent}. Make it, or name another.")
    except OSError as error:
        raise _not_written(path, error) from None


def csv_text(rows: Sequence[Row], float_format: str = ".6f") -> str:
    """Rows as CSV, with every key in the header; lists separated by spaces, None and missing values empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_cell(row.get(name), float_format) for name in names] for row in rows])
    return file.getvalue()


def _cell(value: Any, float_format: str) -> Any:
    match value:
        case list():
            return " ".join(map(str, value))
        case float():
            return format(value, float_format)
        case str() if value.startswith(("=", "+", "-", "@", "\t", "\r")):
            return f"'{value}"  # a spreadsheet would run it as a formula
    return value


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows of equal keys: CSV, or JSON as a list of objects.

    Raises:
        SettingError: the file cannot be written.
    """
    json_text = json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"
    try:
        atomic_write(path, json_text if path.suffix == ".json" else csv_text(rows))
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> SettingError:
    return SettingError(f"--output {path} cannot be written ({error.strerror}). Name another file.")
