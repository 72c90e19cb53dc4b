"""Dataclasses as JSON: the dataclass is the schema; reading checks types, ranges, and that numbers are finite."""

import dataclasses
import json
import math
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Record = TypeVar("Record")
LARGEST = 2**63 - 1
# A type with its smallest and largest value.
Share = Annotated[float, 0, 1]
Seconds = Annotated[float, 0, math.inf]
Count = Annotated[int, 0, LARGEST]
Place = Annotated[int, 1, LARGEST]  # counted from 1


def to_json(record: Any) -> str:
    """The text of `json_data`."""
    return json.dumps(json_data(record), indent=2, ensure_ascii=False) + "\n"


def json_data(value: Any) -> Any:
    """A dataclass as dictionaries and lists; omits a field that has its default."""
    if isinstance(value, list):
        return [json_data(part) for part in value]
    if not dataclasses.is_dataclass(value):
        return value
    values = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return {field.name: json_data(part) for field, part in values if part != default_of(field)}


def default_of(field: dataclasses.Field[Any]) -> Any:
    """The default; `MISSING` of a field that is always written."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def from_json(kind: type[Record], text: str) -> Record:
    """The dataclass that `to_json` wrote. Ignores unknown fields.

    Raises:
        ValueError: the text is not JSON, or a field is missing, of another type or out of its range.
    """
    try:
        record: Record = _read(kind, json.loads(text), "")
        to_json(record).encode()  # half a surrogate pair fits into no file
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return record


def _read(kind: Any, data: Any, name: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any or (origin is Literal and data in args):
        return data
    if origin is Annotated:
        value = _read(args[0], data, name)
        if args[1] <= value <= args[2]:
            return value
    elif origin in (Union, UnionType):
        for option in args:
            with suppress(ValueError):
                return _read(option, data, name)
    elif origin is list and isinstance(data, list):
        return [_read(args[0], part, f"{name}[{place}]") for place, part in enumerate(data)]
    elif origin is dict and isinstance(data, dict):
        return {key: _read(args[1], part, f"{name}.{key}") for key, part in data.items()}
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(data, dict):
        hints = get_type_hints(kind, include_extras=True)
        prefix = f"{name}." if name else ""
        for field in dataclasses.fields(kind):
            if field.name not in data and default_of(field) is dataclasses.MISSING:
                raise ValueError(f"{prefix}{field.name} is missing")
        return kind(**{key: _read(hints[key], part, prefix + key) for key, part in data.items() if key in hints})
    elif type(data) is kind and (kind is not float or math.isfinite(data)):
        return data
    raise ValueError(f"{name or 'the content'} cannot be {repr(data)[:50]}")
