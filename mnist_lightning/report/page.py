"""`report.html`, a page that loads no other file, and the section of `report.md`."""

import base64
import struct
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mnist_lightning.files import one_line
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.report.pictures import Picture
from mnist_lightning.runs.record_text import epochs_text

TEMPLATE = Path(__file__).with_name("page.html")


def report_page(run: FinishedRun, analysis: Analysis, pictures: Sequence[Picture], measured: str) -> str:
    """The page, with the pictures in it; every text of the report is escaped.

    Args:
        run: the run.
        analysis: its figures.
        pictures: in their order.
        measured: how the figures were measured, in sentences.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["png_size"] = png_size
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=run.report, epochs=epochs_text(run.report), analysis=analysis, pictures=pictures, measured=measured
    )


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the start of a PNG's first chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def markdown_section(pictures: Sequence[Picture], measured: str) -> str:
    """The section of `report.md` that shows the files in `figures/`."""
    lines = ["## Figures", "", f"{one_line(measured)} The same on one page: [report.html](report.html)."]
    for picture in pictures:
        image = f"![{one_line(picture.alt)}](figures/{picture.name}.png)"
        lines += ["", f"### {picture.heading}", "", image, "", one_line(picture.caption)]
    return "\n".join(lines)
