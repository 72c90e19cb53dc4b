"""The benchmark's charts."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mnist_lightning.figures.style import BLUE, INK, VERMILION, in_our_style, png_of
from mnist_lightning.files import atomic_write

GREY = "#999999"


def _median_and_errors(samples: Sequence[Sequence[float]]) -> tuple[list[float], list[list[float]]]:
    """The median of each sample, and how far its range reaches below and above, as matplotlib takes error bars."""
    medians = [statistics.median(sample) for sample in samples]
    below = [median - min(sample) for median, sample in zip(medians, samples, strict=True)]
    above = [max(sample) - median for median, sample in zip(medians, samples, strict=True)]
    return medians, [below, above]


@in_our_style
def draw_epochs(figures: dict[str, Any], path: Path) -> None:
    """Seconds of an epoch of each contender, the plain scripts in grey."""
    rows = figures["contenders"][::-1]
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    medians, errors = _median_and_errors([row["train_seconds"] for row in rows])
    axes.barh(
        [row["title"].replace("`", "") for row in rows],
        medians,
        xerr=errors,
        capsize=3,
        color=[GREY if row["name"].startswith("plain") else BLUE for row in rows],
        ecolor=INK,
    )
    for place, row in enumerate(rows):
        text = f"{medians[place]:.0f} s"
        axes.annotate(text, (max(row["train_seconds"]), place), (6, 0), textcoords="offset points", va="center")
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.12)
    axes.set_title(f"Training time per epoch: median and range of {figures['num_rounds']} epochs")
    axes.set_xlabel("seconds of training per epoch")
    atomic_write(path, png_of(figure))


@in_our_style
def draw_scaling(figures: dict[str, Any], path: Path) -> None:
    """Images per second against the batch, and what the network's width reaches of the machine's limit."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    by_batch, by_width = figure.subplots(1, 2)
    points = [point for point in figures["points"] if point["width"] == 1]
    threads = sorted({point["threads"] for point in points})
    for each, color in zip(threads, (BLUE, VERMILION), strict=False):
        chosen = [point for point in points if point["threads"] == each]
        medians, errors = _median_and_errors([point["images_per_second"] for point in chosen])
        label = "1 thread" if each == 1 else f"{each} threads"
        sizes = [point["batch_size"] for point in chosen]
        by_batch.errorbar(sizes, medians, errors, marker="o", capsize=3, color=color, label=label)
    num_samples = len(points[0]["images_per_second"])
    by_batch.set(xscale="log", xlabel="images per step", ylabel="images per second", ylim=(0, None))
    by_batch.set_title(f"Throughput: median and range, n = {num_samples}")
    by_batch.set_xticks([point["batch_size"] for point in points[: len(points) // len(threads)]])
    by_batch.get_xaxis().set_major_formatter(ScalarFormatter())
    by_batch.minorticks_off()
    by_batch.legend(loc="lower right")
    limits = figures["limits"]
    precision = "bfloat16" if figures["precision"] == "bf16-mixed" else "float32"
    limit = limits[f"{precision}_gigaflop_per_second"]
    widths = figures["gigaflop_per_image"]
    rates = {
        str(point["width"]): statistics.median(point["images_per_second"])
        for point in figures["points"]
        if point["batch_size"] == 512 and point["threads"] == threads[-1]
    }
    reached = [rates[width] * gigaflop for width, gigaflop in widths.items()]
    bars = by_width.bar([f"×{width}" for width in widths], reached, color=BLUE)
    by_width.bar_label(bars, [f"{each / limit:.0%} of the limit" for each in reached], padding=3)
    by_width.axhline(limit, color=INK, linestyle="--")
    by_width.annotate(f"limit: matrix product, {precision}", (-0.4, limit), (0, -12), textcoords="offset points")
    by_width.grid(visible=False, axis="x")
    by_width.set(xlabel="width of the network", ylabel="GFLOP/s")
    by_width.set_title(f"Computing speed, {threads[-1]} threads, 512 images per step")
    atomic_write(path, png_of(figure))
