"""Curves of accuracy: against epochs, and against the probability of the prediction."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from scipy.stats import binomtest

from mnist_lightning.figures.style import BLUE, GREEN, INK, VERMILION, in_our_style, new_figure, scale_accuracy
from mnist_lightning.report.analysis import Calibration
from mnist_lightning.runs.record import Record


@in_our_style
def learning_curves_figure(record: Record) -> Figure:
    """Loss and accuracy of each epoch, in training and in validation if there was any, and the learning rate."""
    rows = record.epochs
    figure = new_figure(7.6)
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1.2])
    loss.set(ylabel="loss (cross-entropy)", title=f"Learning curves: {record.dataset}, seed {record.seed}")
    accuracy.set_ylabel("accuracy")
    rate.set(xlabel="epoch", ylabel="learning rate")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    ends = [row.epoch - 1 + row.trained_part for row in rows]  # the run may have ended within its last epoch
    training = [(end, row.train_loss, row.train_accuracy) for end, row in zip(ends, rows, strict=True)]
    validation = [
        (end, row.val_loss, row.val_accuracy)
        for end, row in zip(ends, rows, strict=True)
        if row.val_loss is not None and row.val_accuracy is not None
    ]
    for points, label, colour, marker in (
        (training, "training, during each epoch", BLUE, "o"),
        (validation, f"validation: {record.validated_on}", VERMILION, "s"),
    ):
        if points:
            epochs, losses, accuracies = zip(*points, strict=True)
            loss.plot(epochs, losses, color=colour, marker=marker, ms=4, label=label)
            accuracy.plot(epochs, accuracies, color=colour, marker=marker, ms=4)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.yaxis.set_minor_locator(NullLocator())
    loss.legend()
    scale_accuracy(accuracy, [point[-1] for point in training + validation])
    rate.plot(ends, [row.learning_rate for row in rows], color=GREEN, marker="o", ms=4)
    rate.set(xlim=(0, ends[-1] + 0.3), ylim=(0, None))
    return figure


@in_our_style
def calibration_figure(calibration: Calibration, measured_on: str) -> Figure:
    """The accuracy of each bin with its 95 % interval, and below it the bin's number of images."""
    figure = new_figure(6.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfect calibration")
    num_bins = len(calibration.num_images)
    columns = np.array([calibration.mean_probabilities, calibration.num_correct, calibration.num_images])
    is_filled = columns[2] > 0
    means, correct, totals = columns[:, is_filled]  # (K,) each
    intervals = [wilson_interval(int(part), int(total)) for part, total in zip(correct, totals, strict=True)]
    lengths = abs(np.transpose(intervals) - correct / totals)  # (2, K): below and above the accuracy
    label = "bins, with 95 % interval (Wilson)"
    above.errorbar(means, correct / totals, yerr=lengths, fmt="o", color=BLUE, capsize=3, label=label)
    error = f"expected calibration error {calibration.expected_calibration_error:.4f}"
    above.set(ylabel="accuracy", xlim=(0, 1.02), ylim=(-0.02, 1.04), title=f"Calibration: {measured_on}\n{error}")
    above.legend(loc="lower right")
    centres = ((np.arange(num_bins) + 0.5) / num_bins)[is_filled]
    bars = below.bar(centres, totals, width=0.9 / num_bins, color=BLUE)
    below.bar_label(bars, fmt="{:,.0f}", padding=2, size=7.5)
    below.set(yscale="log", ylim=(0.5, 6 * totals.max()), ylabel="images", xlabel="probability of the prediction")
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def wilson_interval(num_correct: int, num_images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy: within [0, 1], and with a width even if all or none are correct."""
    interval = binomtest(num_correct, num_images).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)
