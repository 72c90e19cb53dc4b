"""Calibration: how well probabilities match accuracies."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from mnist_lightning.figures.style import BLUE, INK, in_our_style, new_figure, wilson_interval
from mnist_lightning.files import Count, Share

NUM_BINS = 15  # as in Guo et al.


@dataclass(frozen=True)
class Bin:
    """The images with similar probabilities of the prediction.

    Args:
        low: Lower end of the bin [low, high); the last bin is closed.
        high: Upper end of the bin.
        num_images: Number of images.
        num_correct: Number of images that are classified correctly.
        mean_probability: Mean probability of the predictions; 0 in an empty bin.
        accuracy: num_correct / num_images; null in an empty bin.
    """

    low: Share
    high: Share
    num_images: Count
    num_correct: Count
    mean_probability: Share
    accuracy: Share | None


@dataclass(frozen=True)
class Calibration:
    """How well probabilities match accuracies.

    Args:
        expected_calibration_error: Mean over the images of the distance between the accuracy
            and the mean probability of their bin.
        num_bins: Number of bins.
        mean_probability: Mean probability of the predictions.
        bins: The bins, by increasing probability.
    """

    expected_calibration_error: Share
    num_bins: Count
    mean_probability: Share
    bins: list[Bin]


def share(part: int, whole: int) -> float | None:
    """The share `part / whole`; None if `whole` is 0."""
    return part / whole if whole else None


def calibration_of(labels: Tensor, probabilities: Tensor) -> Calibration:
    """The calibration of labels (N,) int64 and probabilities (N, num_classes) float."""
    bins = reliability_bins(labels, probabilities)
    mean_probability = float(probabilities.amax(dim=1).double().mean())
    return Calibration(expected_calibration_error(bins), NUM_BINS, mean_probability, bins)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean over the images of |accuracy − mean probability| of their bin.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599. Not by
    torchmetrics, which puts probabilities of exactly 1 into a bin of their own.
    """
    distances = sum(abs(each.num_correct - each.num_images * each.mean_probability) for each in bins)
    return distances / sum(each.num_images for each in bins)


def reliability_bins(labels: Tensor, probabilities: Tensor) -> list[Bin]:
    """The 15 bins of equal width, of labels (N,) and probabilities (N, num_classes)."""
    certainties, classes = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=certainties.dtype)
    places = torch.bucketize(certainties, edges[1:-1], right=True)  # (N,) in 0..14
    bins = []
    for place in range(NUM_BINS):
        members = places == place
        num_images = int(members.sum())
        mean_probability = float(certainties[members].double().mean()) if num_images else 0.0
        num_correct = int((classes == labels)[members].sum())
        ends = float(edges[place]), float(edges[place + 1])
        bins.append(Bin(*ends, num_images, num_correct, mean_probability, share(num_correct, num_images)))
    return bins


@in_our_style
def calibration_figure(calibration: Calibration, measured_on: str) -> Figure:
    """The reliability diagram with each bin's 95 % interval, and below it the number of images in each bin.

    Args:
        calibration: what to draw.
        measured_on: the name of the images, for the title.
    """
    error = calibration.expected_calibration_error
    bins = [each for each in calibration.bins if each.num_images]
    figure = new_figure(6.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="perfect calibration")
    accuracies = [each.num_correct / each.num_images for each in bins]
    intervals = [wilson_interval(each.num_correct, each.num_images) for each in bins]
    lengths = [
        [max(0, accuracy - low) for accuracy, (low, _) in zip(accuracies, intervals, strict=True)],
        [max(0, high - accuracy) for accuracy, (_, high) in zip(accuracies, intervals, strict=True)],
    ]
    means = [each.mean_probability for each in bins]
    above.errorbar(
        means, accuracies, yerr=lengths, fmt="o", color=BLUE, capsize=3, label="bins, with 95 % interval (Wilson)"
    )
    above.set(
        ylabel="accuracy",
        xlim=(0, 1.02),
        ylim=(-0.02, 1.04),
        title=f"Calibration: {measured_on}\nexpected calibration error {error:.4f} ({NUM_BINS} bins)",
    )
    above.legend(loc="lower right")
    centres = [(each.low + each.high) / 2 for each in bins]
    counts = [each.num_images for each in bins]
    below.bar(centres, counts, width=0.9 / NUM_BINS, color=BLUE)
    for centre, count in zip(centres, counts, strict=True):
        below.annotate(f"{count:,}", (centre, count), (0, 2), textcoords="offset points", ha="center", size=7.5)
    below.set(yscale="log", ylim=(0.5, max(counts, default=1) * 6), ylabel="images")
    below.set_xlabel("probability of the prediction")
    return figure
