"""The benchmark's charts."""

import statistics
from pathlib import Path
from typing import Any

from mnist_lightning.runs.files import atomic_savefig


def draw_epochs(figures: dict[str, Any], path: Path) -> None:
    """Bar chart of the seconds per epoch of each contender."""
    from matplotlib.figure import Figure

    rows = figures["contenders"][::-1]
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    medians = [statistics.median(row["train_seconds"]) for row in rows]
    errors = [
        [median - min(row["train_seconds"]) for median, row in zip(medians, rows, strict=True)],
        [max(row["train_seconds"]) - median for median, row in zip(medians, rows, strict=True)],
    ]
    axes.barh([row["title"].replace("`", "") for row in rows], medians, xerr=errors, capsize=3)
    axes.set_xlabel("training seconds per epoch: median and range")
    atomic_savefig(path, figure)


def draw_scaling(figures: dict[str, Any], path: Path) -> None:
    """Images per second by batch size, and GFLOP/s by network width against the machine's limit."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(10, 4), layout="constrained")
    by_batch, by_width = figure.subplots(1, 2)
    points = [point for point in figures["points"] if point["width"] == 1]
    threads = sorted({point["threads"] for point in points})
    for each in threads:
        chosen = [point for point in points if point["threads"] == each]
        by_batch.plot(
            [point["batch_size"] for point in chosen],
            [statistics.median(point["images_per_second"]) for point in chosen],
            marker="o",
            label="1 thread" if each == 1 else f"{each} threads",
        )
    by_batch.set(xscale="log", xlabel="images per step", ylabel="images per second", ylim=(0, None))
    by_batch.set_xticks([point["batch_size"] for point in points[: len(points) // len(threads)]])
    by_batch.get_xaxis().set_major_formatter(ScalarFormatter())
    by_batch.minorticks_off()
    by_batch.legend()
    limits = figures["limits"]
    precision = "bfloat16" if figures["precision"] == "bf16-mixed" else "float32"
    limit = limits[f"{precision}_gigaflop_per_second"]
    widths = figures["gigaflop_per_image"]
    rates = {
        str(point["width"]): statistics.median(point["images_per_second"])
        for point in figures["points"]
        if point["batch_size"] == 512 and point["threads"] == threads[-1]
    }
    by_width.bar([f"×{width}" for width in widths], [rates[width] * flop for width, flop in widths.items()])
    by_width.axhline(limit, color="black", linestyle="--", label=f"matrix product, {precision}")
    by_width.set(xlabel="width of the network", ylabel="GFLOP/s")
    by_width.legend()
    atomic_savefig(path, figure)
