"""The section with figures in a run's `report.md`: `report` writes it, and a run that goes on leaves it be."""

from pathlib import Path

BEGIN, END = b"<!-- figures -->\n", b"\n<!-- end of figures -->\n"


def figures_section(path: Path) -> bytes:
    """The section of this file, marks included; empty if it has none."""
    _, section, _ = _parts(path.read_bytes() if path.is_file() else b"")
    return section


def with_figures_section(markdown: bytes, text: str) -> bytes:
    """The Markdown with this section in the place of the one that it has, or at the end; the rest is as it was."""
    before, section, after = _parts(markdown)
    if not section and before:
        before = before.rstrip(b"\n") + b"\n\n"
    return before + BEGIN + text.encode() + END + after


def _parts(markdown: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before the section, the section, and what comes after; all is before where there is no whole one."""
    before, begin, rest = markdown.partition(BEGIN)
    text, end, after = rest.partition(END)
    return (before, begin + text + end, after) if begin and end else (markdown, b"", b"")
