"""Text from elsewhere in Markdown and on a terminal: it stays text, on its line."""

import re
import unicodedata
from typing import Any


def one_line(value: Any) -> Any:
    """What a JSON file holds, with a space for each character that would end a line or steer a terminal."""
    match value:
        case str():
            return "".join(" " if _steers(character) else character for character in value)
        case list():
            return [one_line(part) for part in value]
        case dict():
            return {one_line(key): one_line(part) for key, part in value.items()}
    return value


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    return category.startswith("C") or category in ("Zl", "Zp")


def as_text(value: Any) -> str:
    """A value whose characters mean nothing else in Markdown, nor in the HTML that it may hold."""
    return re.sub(r"([\\`*~\[\]<>|])", r"\\\1", str(one_line(value)))


def as_code(text: str) -> str:
    """A text as a code span, with more backticks around it than are in it."""
    text = one_line(text)
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks} {text} {marks}" if len(marks) > 1 else f"`{text}`"
