"""Writes what `report` measured into a run's folder: numbers, figures, and a page that loads no other file."""

import base64
from collections.abc import Mapping
from pathlib import Path

import torch
from jinja2 import Environment, StrictUndefined

from mnist_lightning.figures.mistakes import confusion_figure, mistakes_figure
from mnist_lightning.figures.style import png_of
from mnist_lightning.files import atomic_write, to_json
from mnist_lightning.report.analysis import Analysis, FinishedRun, analyse, predict
from mnist_lightning.report.curves import calibration_figure, learning_curves_figure
from mnist_lightning.runs.record_text import epochs_text, rate_note

TEMPLATE = Path(__file__).with_name("page.html")


def write_report(run: FinishedRun) -> None:
    """Evaluates a run's weights on its test images; writes numbers, figures and page, and prints a summary."""
    run.data.setup("test")
    test = run.data.images("test")
    print(f"Evaluating {run.weights_title}, on {len(test.labels):,} test images, {run.data.title}", flush=True)
    probabilities = predict(run, test.images)
    analysis = analyse(run, test, probabilities)
    names, measured_on = analysis.class_names, f"{len(test.labels):,} test images, {run.data.title}"
    figures = {
        "learning_curves": learning_curves_figure(run.record),
        "confusion": confusion_figure(torch.tensor(analysis.confusion), names, measured_on),
        "mistakes": mistakes_figure(test.images, test.labels, probabilities, names, measured_on),
        "calibration": calibration_figure(analysis.calibration, measured_on),
    }
    pngs = {name: png_of(figure) for name, figure in figures.items()}
    page = report_page(run, analysis, pngs)
    (run.folder / "figures").mkdir(exist_ok=True)
    for name, png in pngs.items():
        atomic_write(run.folder / "figures" / f"{name}.png", png)
    atomic_write(run.folder / "analysis.json", to_json(analysis))
    atomic_write(run.folder / "report.html", page)
    print(f"\n{summary(run, analysis)}\n\nPage, figures and numbers: {run.folder}/report.html, figures/, analysis.json")


def report_page(run: FinishedRun, analysis: Analysis, pngs: Mapping[str, bytes]) -> str:
    """The page, with the figures in it; every text of the record is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    texts = {"epochs": epochs_text(run.record), "rate_note": rate_note(run.record)}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(run=run, record=run.record, analysis=analysis, pngs=pngs, **texts)


def summary(run: FinishedRun, analysis: Analysis) -> str:
    """What was measured, for the terminal."""
    return f"""\
{run.record.dataset}, {analysis.num_images:,} test images, {run.weights_title}
  accuracy           {analysis.accuracy:.2%}: {len(analysis.mistakes)} wrong
  calibration error  {analysis.calibration.expected_calibration_error:.4f} expected
{run.part_of_the_test_images}"""
