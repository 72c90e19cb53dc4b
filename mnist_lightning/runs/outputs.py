"""The file that `--output` names, never over what is there; and rows in it, as CSV or JSON, as its suffix says."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lightning.errors import SettingError
from mnist_lightning.runs.files import atomic_write

Row = Mapping[str, str | int | float | None]


def check_output(path: Path, *suffixes: str) -> None:
    """Checks, before any work, that a file can be written there at its end.

    Args:
        path: the file.
        suffixes: one of which its name has to end in.

    Raises:
        SettingError: the suffix is another, the file exists, or its folder does not.
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


def csv_text(rows: Sequence[Row]) -> str:
    """Rows of equal keys as CSV with a header; real numbers with six decimals, None as nothing."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows[0].keys() if rows else [])
    for row in rows:
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else no_formula(value) for value in row.values()])
    return file.getvalue()


def no_formula(value: Any) -> Any:
    """The value of a CSV's cell, with a quote before a text that a spreadsheet would take for a formula, and run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


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
