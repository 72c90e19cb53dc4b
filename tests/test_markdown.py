"""Texts in reports that contain Markdown, HTML or terminal commands are escaped."""

import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mnist_lightning.report.page import markdown_section
from mnist_lightning.report.pictures import Picture
from mnist_lightning.runs.json_records import from_json
from mnist_lightning.runs.markdown import as_code, as_text, one_line
from mnist_lightning.runs.report import Report
from mnist_lightning.runs.report_text import report_markdown, summary
from support.runs import PROJECT

HOSTILE = [
    "<script>alert(1)</script>",
    "<!-- ",
    "`x` ``` `",
    "```",
    "~~~",
    "a | b",
    "[a](http://example.org/) ![b](http://example.org/c.png)",
    "**bold** \\` \\",
    "one\n\n# two\n\n```\n\n<b>\r\nthree\u2028four",
    "\x1b[2J\x1b]0;title\x07 \x9b \u202e",
    "<!-- figures -->\n",
]


def tokens_of(markdown: str) -> list[Token]:
    parsed = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    return [part for token in parsed for part in (token, *(token.children or []))]


def report_with(text: str) -> Report:
    report: dict[str, Any] = json.loads((PROJECT / "models" / "mnist.json").read_text())

    def changed(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: changed(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [changed(part) for part in value]
        return text if isinstance(value, str) and name != "validation" else value

    report |= changed({name: part for name, part in report.items() if name not in ("settings", "epochs")})
    return from_json(Report, json.dumps(report))


def kinds_of(markdown: str) -> list[str]:
    return [token.type for token in tokens_of(markdown) if token.type not in ("text", "text_special")]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_reports_texts_are_escaped(text: str) -> None:
    markdown = report_markdown(report_with(text))
    assert kinds_of(markdown) == kinds_of(report_markdown(report_with("text")))
    (code,) = (token.content.strip() for token in tokens_of(markdown) if token.type == "code_inline")
    assert code == one_line(text).strip()
    shown = "".join(token.content for token in tokens_of(markdown) if token.type in ("text", "text_special"))
    assert f"date: {one_line(text)}".strip() in shown
    assert len(summary(report_with(text)).splitlines()) == len(summary(report_with("text")).splitlines())
    assert "\x1b" not in summary(report_with(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_figures_texts_are_escaped(text: str) -> None:
    def section(each: str) -> str:
        picture = Picture("confusion", "Confusion", caption=f"It is {each}", alt=each, png=b"", columns=[], rows=[])
        return markdown_section([picture], f"Measured on {each}")

    assert kinds_of(section(text)) == kinds_of(section("text"))


def test_code_and_text() -> None:
    assert as_code("python -m x") == "`python -m x`"
    assert as_code("a `b` c") == "`` a `b` c ``"
    assert as_text("x86_64, 99.4 % (NOT MNIST)") == "x86_64, 99.4 % (NOT MNIST)"


@pytest.mark.parametrize("path", sorted((PROJECT / "results").glob("*/*/seed_0.md")), ids=lambda path: path.parent.name)
def test_escaping_does_not_change_committed_reports(path: Path) -> None:
    report_json = path.with_suffix(".json")
    report = from_json(Report, report_json.read_text(encoding="utf-8"))
    assert report_markdown(report) == path.read_text(encoding="utf-8")
