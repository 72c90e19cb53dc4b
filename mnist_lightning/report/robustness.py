"""The chart of accuracy on rotated and shifted images."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from mnist_lightning.figures.style import (
    BLUE,
    GREEN,
    SHADE,
    VERMILION,
    in_our_style,
    new_figure,
    scale_accuracy,
    wilson_interval,
)
from mnist_lightning.report.evaluation import Point, Robustness

LABELS = {
    "rotation_degrees": ("rotation, degrees counter-clockwise", "rotated", BLUE, "o"),
    "translation_x_pixels": ("shift, pixels", "to the right (below 0: left)", VERMILION, "s"),
    "translation_y_pixels": ("shift, pixels", "downwards (below 0: up)", GREEN, "^"),
}


@in_our_style
def robustness_figure(robustness: Robustness, trained_up_to: Mapping[str, float], measured_on: str) -> Figure:
    """Accuracy against rotation, and against shifts along x and along y; bands are 95 % intervals.

    Args:
        robustness: the accuracies.
        trained_up_to: the largest movement of the training's augmentation, by the names of the curves.
        measured_on: the name of the images, for the title.
    """
    figure = new_figure(6.2)
    panels = figure.subplots(2, 1, sharey=True)
    panels[0].set_title(f"Moved images: {measured_on}")
    ends: list[float] = []
    for axes, movements in zip(
        panels, (["rotation_degrees"], ["translation_x_pixels", "translation_y_pixels"]), strict=True
    ):
        most = trained_up_to[movements[0]]
        if most:
            axes.axvspan(-most, most, color=SHADE, alpha=0.5, linewidth=0, label=f"seen in training (± {most:g})")
        for movement in movements:
            points: list[Point] = getattr(robustness, movement)
            amounts = [point.amount for point in points]
            xlabel, label, colour, marker = LABELS[movement]
            axes.plot(amounts, [point.accuracy for point in points], color=colour, marker=marker, ms=5, label=label)
            intervals = [wilson_interval(point.num_correct, robustness.num_images) for point in points]
            lows, highs = zip(*intervals, strict=True)
            axes.fill_between(amounts, lows, highs, color=colour, alpha=0.2, linewidth=0)
            axes.set(xlabel=xlabel, ylabel="accuracy", xticks=amounts)
            axes.set_xlim(amounts[0] * 1.02, amounts[-1] * 1.02)
            ends += [*lows, *highs]
        axes.legend(loc="lower center")
    scale_accuracy(panels[0], ends)
    return figure
