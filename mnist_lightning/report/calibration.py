"""Calibration: whether the network is right as often as it says."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from mnist_lightning.network import NUM_CLASSES
from mnist_lightning.report.drawing import BLUE, INK, in_our_style, new_figure, wilson_interval

NUM_BINS = 15  # as in Guo et al.


class Bin(NamedTuple):
    """The images whose predictions are of like probability."""

    low: float  # the bin is [low, high), and the last one closed
    high: float
    num_images: int
    num_correct: int
    mean_probability: float  # of the predictions; 0 in an empty bin


def expected_calibration_error(labels: Tensor, probabilities: Tensor) -> float:
    """The mean over the images of |accuracy − mean probability| of their bin, of 15 equally wide ones.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.

    Args:
        labels: (N,) int64 in 0..9.
        probabilities: (N, 10) float.
    """
    return float(multiclass_calibration_error(probabilities, labels, NUM_CLASSES, n_bins=NUM_BINS, norm="l1"))


def reliability_bins(labels: Tensor, probabilities: Tensor) -> list[Bin]:
    """The 15 bins of the expected calibration error, of labels (N,) and probabilities (N, 10)."""
    certainties, digits = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=certainties.dtype)
    places = torch.bucketize(certainties, edges[1:-1], right=True)  # (N,) in 0..14
    bins = []
    for place in range(NUM_BINS):
        members = places == place
        num_images = int(members.sum())
        mean_probability = float(certainties[members].double().mean()) if num_images else 0.0
        num_correct = int((digits == labels)[members].sum())
        bins.append(Bin(float(edges[place]), float(edges[place + 1]), num_images, num_correct, mean_probability))
    return bins


@in_our_style
def calibration_figure(labels: Tensor, probabilities: Tensor, measured_on: str) -> Figure:
    """The reliability diagram with each bin's 95 % interval, and below it how many images each bin has.

    Args:
        labels: (N,) int64 in 0..9.
        probabilities: (N, 10) float.
        measured_on: what the images are, for the title.
    """
    bins = [each for each in reliability_bins(labels, probabilities) if each.num_images]
    error = expected_calibration_error(labels, probabilities)
    figure = new_figure(6.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="as certain as right")
    accuracies = [each.num_correct / each.num_images for each in bins]
    intervals = [wilson_interval(each.num_correct, each.num_images) for each in bins]
    lengths = [
        [max(0, accuracy - low) for accuracy, (low, _) in zip(accuracies, intervals, strict=True)],
        [max(0, high - accuracy) for accuracy, (_, high) in zip(accuracies, intervals, strict=True)],
    ]
    means = [each.mean_probability for each in bins]
    above.errorbar(
        means, accuracies, yerr=lengths, fmt="o", color=BLUE, capsize=3, label="images of a bin, with 95 % interval"
    )
    above.set(
        ylabel="share of them that is right",
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
    below.set_xlabel("probability that the network gives its prediction")
    return figure
