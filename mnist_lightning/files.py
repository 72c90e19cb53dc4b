"""Files: atomic writes, JSON records, CSV, tables in Markdown, YAML, and the files that come with the package."""

import csv
import dataclasses
import io
import json
import os
import secrets
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml
from jsonargparse._loaders_dumpers import yaml_load
from typing_extensions import override

from mnist_lightning.errors import UserError

PACKAGE = Path(__file__).parent  # a wheel holds copies of `configs` and `models` here; a clone has them beside it

Row = Mapping[str, Any]
Record = TypeVar("Record")
# Numbers of a record, with their bounds.
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Place = Annotated[int, msgspec.Meta(ge=1)]  # counted from 1


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a file atomically: readers see the old content or the new, even after an error or a power cut."""
    # Unpredictable, so that nobody can plant a link there, and cut to the length that file systems allow.
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:  # x follows no link
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # The error would name the partial file, or no file at all.
            error.filename, error.filename2 = str(path), None
        raise


def find_file(path: str) -> str:
    """The package's own file for a `configs/...` or `models/...` that the working directory lacks, else `path`."""
    if not path.replace("\\", "/").startswith(("configs/", "models/")) or Path(path).exists():
        return path
    return next((str(each / path) for each in (PACKAGE, PACKAGE.parent) if (each / path).is_file()), path)


def expanded(path: str) -> str:
    """The path with the home directory in place of `~`, which a shell leaves in a config or after `=`."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def check_output(path: Path, *suffixes: str) -> None:
    """Raises a UserError if a name has none of the endings, if the file exists, or if its folder does not."""
    if path.suffix not in suffixes:
        raise UserError(f"--output {path}: name a file that ends in {' or '.join(suffixes)}.")
    if path.exists():
        raise UserError(f"--output {path} exists already. Name another file, or delete this one first.")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}. Make it, or name another.")


def csv_text(rows: Sequence[Row], float_format: str = ".6f") -> str:
    """Rows as CSV, with every key in the header; lists separated by spaces, None and missing values empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = (" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in map(row.get, names))
        writer.writerow([format(cell, float_format) if isinstance(cell, float) else cell for cell in cells])
    return file.getvalue()


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
    """The dataclass that `to_json` wrote, without unknown fields; raises a ValueError if the text is none."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:  # neither is a ValueError
        raise ValueError(str(error)) from None


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def one_line(text: str) -> str:
    """The text with a space for each character that would end a line or steer a terminal."""
    categories = ((character, unicodedata.category(character)) for character in text)
    return "".join(" " if kind[0] == "C" or kind in ("Zl", "Zp") else character for character, kind in categories)


class StrictLoader(yaml.SafeLoader):
    """Refuses what YAML allows and a config does not need: keys that stand twice, and aliases, which can be huge."""

    @override
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"an alias (*) in line {self.line + 1}: write the value instead")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            keys = [str(key.value) for key, _ in node.value]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise yaml.YAMLError(f"the key {twice[0]} stands twice in line {node.start_mark.line + 1} or below")
        return node


def load_yaml(text: str) -> Any:
    """Reads YAML as jsonargparse does, but with the StrictLoader's checks."""
    yaml.compose(text, StrictLoader)
    return yaml_load(text)
