"""`report.html`: one page that needs nothing but itself, and the section of `report.md`."""

import base64
import struct
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.report.measurements import Numbers
from mnist_lightning.report.pictures import Picture
from mnist_lightning.runs.markdown import as_text

TEMPLATE = Path(__file__).with_name("page.html")


def report_page(run: FinishedRun, numbers: Numbers, pictures: Sequence[Picture], measured: str) -> str:
    """The page, with the pictures in it; whatever the report holds is shown as text.

    Args:
        run: the run.
        numbers: as in `analysis.json`.
        pictures: in their order.
        measured: what the figures were measured on and with, in sentences.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    environment.filters["png_size"] = png_size
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=run.report, numbers=numbers, pictures=pictures, measured=measured)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, which a PNG's first chunk begins with."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def markdown_section(pictures: Sequence[Picture], measured: str) -> str:
    """The figures for `report.md`, which lie in `figures/` beside it."""
    lines = ["## Figures", "", f"{as_text(measured)} The same on one page: [report.html](report.html)."]
    for picture in pictures:
        image = f"![{as_text(picture.alt)}](figures/{picture.name}.png)"
        lines += ["", f"### {picture.heading}", "", image, "", as_text(picture.caption)]
    return "\n".join(lines)
