"""The tables of docs/report_files.md, from the dataclasses: a row for each field."""

import dataclasses
import inspect
import re
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from mnist_lightning.files import default_of, markdown_table


def fields_table(record: type[Any]) -> str:
    """The fields of a file that holds this dataclass; the fields of a part follow it, with their path."""
    return markdown_table(["field", "type", "range", "meaning"], _rows(record, ""))


def _rows(record: type[Any], path: str) -> list[list[str]]:
    # The entries of `Args:`; further lines of an entry are indented.
    meanings = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", inspect.getdoc(record) or "", re.MULTILINE)
    meaning_of = {name: " ".join(text.split()) for name, text in meanings}
    hints = get_type_hints(record, include_extras=True)
    rows = []
    for field in dataclasses.fields(record):
        name, kind = f"{path}{field.name}", hints[field.name]
        is_optional = default_of(field) is not dataclasses.MISSING
        type_text, range_text, part = _described(_without_none(kind) if is_optional else kind)
        meaning = f"{'Optional. ' if is_optional else ''}{meaning_of[field.name]}"
        rows.append([f"`{name}`", type_text, range_text, meaning])
        if part is not None:
            rows += _rows(part, f"{name}[]." if type_text.startswith("list") else f"{name}.")
    return rows


def _without_none(kind: Any) -> Any:
    args = tuple(arg for arg in get_args(kind) if arg is not NoneType)
    return Union[args] if get_origin(kind) in (Union, UnionType) else kind  # noqa: UP007  (of a tuple)


def _described(kind: Any) -> tuple[str, str, type[Any] | None]:
    """The type in words, its range, and the dataclass that it holds."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        low, high = args[1].ge, args[1].le
        return args[0].__name__, f"at least {low}" if high is None else f"{low} to {high}", None
    if origin is Literal:
        return "str", ", ".join(f"`{arg}`" for arg in args), None
    if origin is list:
        text, limits, part = _described(args[0])
        return f"list of {text}", limits, part
    if origin is dict:
        text, _, _ = _described(args[1])
        return f"object of {text}", "", None
    if origin in (Union, UnionType):
        described = [_described(arg) for arg in args]
        if part := described[0][2]:  # a row is also one of its base class
            return "object", "", part
        return " or ".join(text for text, _, _ in described), described[0][1], None
    if dataclasses.is_dataclass(kind):
        return "object", "", kind if isinstance(kind, type) else None
    return {NoneType: "null", Any: "any"}.get(kind) or kind.__name__, "", None
