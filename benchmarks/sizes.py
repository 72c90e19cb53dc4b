"""Accuracy against parameters: this project's networks, and published ones."""

import math
from functools import cache
from pathlib import Path

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.studies import PROJECT, accuracy_text, provenance_of, read_csv, study_rows
from mnist_lightning.figures.style import BLUE, INK, in_our_style, new_figure, png_of
from mnist_lightning.files import atomic_write, markdown_table
from mnist_lightning.runs.acceptance import MIN_TEST_ACCURACY
from mnist_lightning.study.table import interval_text, percent, range_text, single_view_text

# From small to large: the study, its variant, and the config as a reader calls it.
SIZES = (
    ("sizes", "under 2,500", "`sizes/under_2500.yaml`"),
    ("sizes", "under 5,000", "`sizes/under_5000.yaml`"),
    ("sizes", "under 8,000", "`sizes/under_8000.yaml`"),
    ("best", "best", "`best.yaml`"),
    ("double_channels", "double channels", "`best.yaml` with double channels"),
)
PARAMETER_TICKS = (700, 2000, 5000, 10_000, 20_000, 50_000)


@cache
def published() -> list[dict[str, str]]:
    """Accuracies of single runs on GitHub, as their authors state them; not repeated by us."""
    return read_csv(PROJECT / "results" / "sizes" / "published.csv")


def sizes_text() -> str:
    """Accuracy by number of parameters, beside published runs."""
    header = ["network", "parameters", "epoch of the accuracy", "test accuracy, %", "95 % interval of the mean"]
    by_size, gains = [], []
    for study, variant, title in SIZES:
        row = study_rows(study)[variant]
        gains.append(row.mean - (row.single_view_mean or row.mean))
        accuracy = f"{accuracy_text(row)}{single_view_text(row)}"
        cells = [f"**{title}**", f"{row.num_parameters:,}", f"last, {range_text(row.epochs)}", accuracy]
        cells += [interval_text(row), f"{percent(row.min)}–{percent(row.max)}"]
        by_size.append((row.num_parameters, cells))
    for claim in published():
        source = f"[{claim['repository']}](https://github.com/{claim['repository']}): {claim['path']}"
        parameters, accuracy = int(claim["parameters"]), f"{claim['accuracy_percent']} (one run)"
        by_size.append((parameters, [source, f"{parameters:,}", claim["epoch"], accuracy, "–", "–"]))
    return (
        f"{markdown_table([*header, 'min–max'], [cells for _, cells in sorted(by_size)])}\n\n"
        "Ours: mean ± standard deviation over n seeds after the last epoch, with test-time augmentation: the average "
        f"over nine views of each image, which adds {percent(min(gains))} to {percent(max(gains))} points; interval by "
        "Student's t. Their settings were chosen on held-out training images (the idea of `best.yaml` came from trials "
        "that used the test images; double channels have its settings, without a choice of their own), and the test "
        "images are read once. "
        "Published: one run each, read on 2026-11-28 and 2026-12-01 in the file named, or in its name, and not "
        "repeated by us; the files do not mention such an average. Their authors name the best epoch on the test "
        "images, the last one, or none. "
        f"Parameters: trainable ones. {provenance_of(SIZES)}"
    )


@in_our_style
def draw_sizes(path: Path) -> None:
    """Mean accuracy of each of our networks with its 95 % interval, and the claims."""
    rows = [study_rows(study)[variant] for study, variant, _ in SIZES]
    figure = new_figure(4.2)
    axes = figure.subplots()
    axes.axhline(100 * MIN_TEST_ACCURACY, color=INK, linewidth=1, linestyle=":")
    parameters = [int(claim["parameters"]) for claim in published()]
    accuracies = [float(claim["accuracy_percent"]) for claim in published()]
    label = "published: one run each, as stated by its author"
    axes.plot(parameters, accuracies, "o", markerfacecolor="none", color="#777777", label=label)
    parameters = [row.num_parameters for row in rows]
    means, half_widths = [100 * row.mean for row in rows], [100 * (row.half_width_95 or math.nan) for row in rows]
    label = "ours: mean after the last epoch, over nine views of each image"
    axes.errorbar(parameters, means, half_widths, fmt="D", color=BLUE, capsize=3, label=label)
    single_view = [100 * (row.single_view_mean or math.nan) for row in rows]
    axes.plot(parameters, single_view, "D", markerfacecolor="none", color=BLUE, label="ours, with one view")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(PARAMETER_TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("trainable parameters")
    axes.set_ylabel("accuracy on MNIST's test images, %")
    figure.legend(loc="outside upper left")
    seeds = range_text([row.num_seeds for row in rows])
    figure.supxlabel(f"bars: 95 % interval of the mean of n = {seeds} seeds (Student's t); dotted: 99.4 %", size=8)
    atomic_write(path, png_of(figure))
