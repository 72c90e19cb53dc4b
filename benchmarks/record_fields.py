"""The tables of docs/report_files.md: the fields of a dataclass, as its docstring describes them."""

import dataclasses
import inspect
import re
from typing import Any, get_args, get_type_hints

from mnist_lightning.files import default_of, markdown_table


def fields_table(record: type[Any]) -> str:
    """The fields of a file that holds this dataclass; the fields of a part follow it, with their path."""
    return markdown_table(["field", "meaning"], _rows(record, ""))


def _rows(record: type[Any], path: str) -> list[list[str]]:
    # The entries of `Args:`; further lines of an entry are indented.
    meanings = dict(re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", inspect.getdoc(record) or "", re.MULTILINE))
    hints = get_type_hints(record)
    rows = []
    for field in dataclasses.fields(record):
        name, part = f"{path}{field.name}", _dataclass_in(hints[field.name])
        optional = "" if default_of(field) is dataclasses.MISSING else "Optional. "
        rows.append([f"`{name}`", optional + " ".join(meanings[field.name].split())])
        if part is not None:
            rows += _rows(part, f"{name}[]." if str(hints[field.name]).startswith("list") else f"{name}.")
    return rows


def _dataclass_in(kind: Any) -> type[Any] | None:
    """The first dataclass in a type such as `list[Part]` or `Part | None`."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind
    return next((part for each in get_args(kind) if (part := _dataclass_in(each)) is not None), None)
