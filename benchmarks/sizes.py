"""Accuracy against parameters: this project's networks, and published ones."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mnist_lightning.figures.style import BLUE, INK, in_our_style, new_figure, png_of
from mnist_lightning.files import atomic_write, markdown_table
from mnist_lightning.runs.acceptance import MIN_TEST_ACCURACY
from mnist_lightning.study.summary import MeasuredRow
from mnist_lightning.study.summary_text import (
    interval_text,
    mean_and_deviation,
    percent,
    range_text,
    single_view_text,
)

PARAMETER_TICKS = (2000, 5000, 10_000, 20_000, 50_000)


class Claim(NamedTuple):
    """A published accuracy of a single run."""

    parameters: int
    accuracy_percent: float
    epoch: str  # of the accuracy: best or last, and its number; or "not stated"
    repository: str  # on GitHub
    path: str  # of the file that states both


# As their authors state them, read on 2026-11-28; not repeated by us.
CLAIMS = (
    Claim(1936, 99.1, "not stated", "ruslangrimov/mnist-minimal-model", "1936/model.txt"),
    Claim(2180, 99.15, "not stated", "ruslangrimov/mnist-minimal-model", "2180/model.txt"),
    Claim(4142, 99.17, "not stated", "ruslangrimov/mnist-minimal-model", "4142/model.txt"),
    Claim(6174, 99.47, "last, 15", "firekind/ERA4", "session-6/README.md"),
    Claim(7870, 99.32, "not stated", "kurchi1205/ERA-Session-7-Assignment", "README.md"),
    Claim(7918, 99.52, "best, 11", "snehanshu-raj/ERA", "assignment_6/Readme.md"),
    Claim(8500, 99.49, "best", "uday96/EVA4-TSAI", "S5/README.md"),
    Claim(13_496, 99.46, "best, 5", "nitinranjansharma/EVA5B2", "s4/README.md"),
    Claim(18_738, 99.43, "best, 18", "bijonguha/tsai-bijon", "s6/part_2/README.md"),
    Claim(19_898, 99.54, "best, 16", "pradeep6kumar/mnist_994", "README.md"),
)


def sizes_table(rows: Mapping[str, MeasuredRow]) -> str:
    """Our rows by title, and the claims, by number of parameters.

    Args:
        rows: our rows, by what a reader calls them.
    """
    header = [
        "network",
        "parameters",
        "epoch of the accuracy",
        "test accuracy, %",
        "95 % interval of the mean",
        "min–max",
    ]
    ours = [
        (
            row.num_parameters,
            [
                *(f"**{title}**", f"{row.num_parameters:,}", f"last, {range_text(row.epochs)}"),
                f"{mean_and_deviation(row.mean, row.standard_deviation)} (n = {row.num_seeds}){single_view_text(row)}",
                *(interval_text(row), f"{percent(row.min)}–{percent(row.max)}"),
            ],
        )
        for title, row in rows.items()
    ]
    published = [
        (
            claim.parameters,
            [
                f"[{claim.repository}](https://github.com/{claim.repository}): {claim.path}",
                *(f"{claim.parameters:,}", claim.epoch, f"{claim.accuracy_percent} (one run)", "–", "–"),
            ],
        )
        for claim in CLAIMS
    ]
    return markdown_table(header, [cells for _, cells in sorted(ours + published, key=lambda each: each[0])])


@in_our_style
def draw_sizes(rows: Mapping[str, MeasuredRow], path: Path) -> None:
    """Mean accuracy of each of our rows with its 95 % interval, and the claims."""
    figure = new_figure(4.2)
    axes = figure.subplots()
    axes.axhline(100 * MIN_TEST_ACCURACY, color=INK, linewidth=1, linestyle=":")
    parameters, accuracies = [claim.parameters for claim in CLAIMS], [claim.accuracy_percent for claim in CLAIMS]
    label = "published: one run each, as stated by its author"
    axes.plot(parameters, accuracies, "o", markerfacecolor="none", color="#777777", label=label)
    parameters = [row.num_parameters for row in rows.values()]
    axes.errorbar(
        parameters,
        [100 * row.mean for row in rows.values()],
        [100 * (row.half_width_95 or math.nan) for row in rows.values()],
        fmt="D",
        color=BLUE,
        capsize=3,
        label="ours: mean after the last epoch, over nine views of each image",
    )
    single_view = [100 * (row.single_view_mean or math.nan) for row in rows.values()]
    axes.plot(parameters, single_view, "D", markerfacecolor="none", color=BLUE, label="ours, with one view")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(PARAMETER_TICKS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("trainable parameters")
    axes.set_ylabel("accuracy on MNIST's test images, %")
    figure.legend(loc="outside upper left")
    seeds = range_text([row.num_seeds for row in rows.values()])
    figure.supxlabel(f"bars: 95 % interval of the mean of n = {seeds} seeds (Student's t); dotted: 99.4 %", size=8)
    atomic_write(path, png_of(figure))
