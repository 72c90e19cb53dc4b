"""Tables in Markdown; and text from elsewhere in Markdown and on a terminal: it stays text, on its line."""

import re
import unicodedata
from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown already."""
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def one_line(text: str) -> str:
    """The text with a space for each character that would end a line or steer a terminal."""
    return "".join(" " if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    return category.startswith("C") or category in ("Zl", "Zp")


def as_text(text: str) -> str:
    """The text, whose characters mean nothing else in Markdown, nor in the HTML that it may hold."""
    return re.sub(r"([\\`*~\[\]<>|])", r"\\\1", one_line(text))


def as_code(text: str) -> str:
    """The text as a code span, with more backticks around it than are in it."""
    text = one_line(text)
    marks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{marks} {text} {marks}" if len(marks) > 1 else f"`{text}`"
