"""How accuracy falls as the images are rotated and shifted."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mnist_lightning.report.drawing import (
    BLUE,
    GREEN,
    SHADE,
    VERMILION,
    in_our_style,
    new_figure,
    scale_accuracy,
    wilson_interval,
)
from mnist_lightning.report.evaluation import Curve

LABELS = {
    "rotation_degrees": ("rotation, degrees counter-clockwise", "rotated", BLUE, "o"),
    "translation_x_pixels": ("shift, pixels", "to the right (below 0: left)", VERMILION, "s"),
    "translation_y_pixels": ("shift, pixels", "downwards (below 0: up)", GREEN, "^"),
}


@in_our_style
def robustness_figure(curves: Sequence[Curve], trained_up_to: Mapping[str, float], measured_on: str) -> Figure:
    """Accuracy against rotation, and against shifts along x and along y; bands are 95 % intervals.

    Args:
        curves: of rotation and of both shifts.
        trained_up_to: the most that the training's augmentation moves an image, by the curves' movements.
        measured_on: what the images are, for the title.
    """
    figure = new_figure(6.2)
    panels = figure.subplots(2, 1, sharey=True)
    panels[0].set_title(f"Moved images: {measured_on}")
    intervals = [[wilson_interval(each, curve.num_images) for each in curve.num_correct] for curve in curves]
    scale_accuracy(panels[0], [end for ends in intervals for interval in ends for end in interval])
    drawn = list(zip(curves, intervals, strict=True))
    for axes, part in ((panels[0], drawn[:1]), (panels[1], drawn[1:])):
        most = trained_up_to[part[0][0].movement]
        if most:
            axes.axvspan(-most, most, color=SHADE, alpha=0.5, linewidth=0, label=f"seen in training (± {most:g})")
        for curve, ends in part:
            xlabel, label, colour, marker = LABELS[curve.movement]
            axes.plot(curve.amounts, curve.accuracies(), color=colour, marker=marker, markersize=5, label=label)
            lows, highs = zip(*ends, strict=True)
            axes.fill_between(curve.amounts, lows, highs, color=colour, alpha=0.2, linewidth=0)
            axes.set(xlabel=xlabel, ylabel="accuracy", xticks=curve.amounts)
            axes.set_xlim(curve.amounts[0] * 1.02, curve.amounts[-1] * 1.02)
        axes.legend(loc="lower center")
    return figure
