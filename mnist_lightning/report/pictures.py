"""The figures of a run with their texts, for the page and for Markdown."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.data.datasets import noun_of
from mnist_lightning.figures.style import png_of
from mnist_lightning.network import IMAGE_SHAPE
from mnist_lightning.report.analysis import Analysis
from mnist_lightning.report.calibration import calibration_figure
from mnist_lightning.report.confusion import confusion_figure
from mnist_lightning.report.evaluation import Point
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.report.learning_curves import learning_curves_figure
from mnist_lightning.report.mistakes import NUM_SHOWN, mistakes_figure
from mnist_lightning.report.robustness import robustness_figure
from mnist_lightning.runs.record_text import epochs_text, optional_text, rate_note


@dataclass(frozen=True)
class Picture:
    """A figure, its texts and its numbers."""

    name: str  # of the file, without its suffix
    heading: str
    caption: str  # how it was measured
    alt: str  # what it shows, for readers who cannot see it
    png: bytes
    columns: list[str]  # the heads of the table of its numbers
    rows: list[list[str]]


def learning_curves_picture(run: FinishedRun) -> Picture:
    """Loss, accuracy and learning rate."""
    rows = run.report.epochs
    validated = [row.val_accuracy for row in rows if row.val_accuracy is not None]
    alt = f"{epochs_text(run.report)}."
    if rows:
        alt += f" Training accuracy goes from {rows[0].train_accuracy:.2%} to {rows[-1].train_accuracy:.2%}"
        alt += f", training loss from {rows[0].train_loss:.4f} to {rows[-1].train_loss:.4f}."
    if validated:
        alt += f" Validation accuracy goes from {validated[0]:.2%} to {validated[-1]:.2%}."
    return Picture(
        "learning_curves",
        "Learning curves",
        "Training figures are measured while the weights change, with augmentation and dropout if the run uses them; "
        "validation figures after each epoch, without either. On the accuracy axis each halving of the error has the "
        "same height. The dots of the learning rate are its values after each epoch's last step."
        + rate_note(run.report),
        alt,
        png_of(learning_curves_figure(run.report)),
        ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy", "learning rate"],
        [
            [
                str(row.epoch),
                f"{row.train_loss:.4f}",
                f"{row.train_accuracy:.2%}",
                optional_text(row.val_loss, ".4f"),
                optional_text(row.val_accuracy, ".2%"),
                f"{row.learning_rate:.6f}",
            ]
            for row in rows
        ],
    )


def confusion_picture(analysis: Analysis, measured_on: str) -> Picture:
    """The confusion matrix."""
    counts = torch.tensor(analysis.confusion)
    off_diagonal = counts.clone().fill_diagonal_(0)
    names, noun = analysis.class_names, noun_of(analysis.class_names)
    true, predicted = divmod(int(off_diagonal.argmax()), len(names))
    alt = f"{analysis.num_correct:,} of {analysis.num_images:,} images are classified correctly."
    if off_diagonal.any():
        most = int(off_diagonal[true, predicted])
        times = "once" if most == 1 else f"{most} times"
        alt += f" The most frequent mistake, made {times}: {names[true]} is classified as {names[predicted]}."
    return Picture(
        "confusion",
        "Confusion matrix",
        "Rows are true classes, columns predicted classes. Correct predictions are grey; the more frequent a mistake, "
        f"the darker its orange. The percentages are the accuracy of each {noun}.",
        alt,
        png_of(confusion_figure(counts, names, measured_on)),
        [noun, "images", "correct", "accuracy", "mistaken for"],
        [
            [
                each.name,
                f"{each.num_images:,}",
                f"{each.num_correct:,}",
                optional_text(each.accuracy, ".2%"),
                ", ".join(f"{names[other]} (×{count})" for other, count in enumerate(mistakes) if count) or "–",
            ]
            for each, mistakes in zip(analysis.per_class, off_diagonal.tolist(), strict=True)
        ],
    )


def mistakes_picture(test: LabelledImages, probabilities: Tensor, analysis: Analysis) -> Picture:
    """The mistakes among N images with probabilities (N, num_classes)."""
    mistakes, names, noun = analysis.mistakes, analysis.class_names, noun_of(analysis.class_names)
    alt = "No image is classified wrongly."
    if mistakes:
        worst = mistakes[0]
        alt = (
            f"{len(mistakes[:NUM_SHOWN])} images. The most confident mistake, image {worst.index:,}: "
            f"{names[worst.label]} classified as {names[worst.prediction]} with probability {worst.probability:.1%}."
        )
    return Picture(
        "mistakes",
        "Most confident mistakes",
        "The wrong predictions with the highest probability, highest first. The number is the image's place "
        "among the test images, counted from 0.",
        alt,
        png_of(mistakes_figure(test.images, test.labels, probabilities, names)),
        ["image", f"true {noun}", f"predicted {noun}", "probability"],
        [
            [f"{each.index:,}", names[each.label], names[each.prediction], f"{each.probability:.2%}"]
            for each in mistakes[:NUM_SHOWN]
        ],
    )


def calibration_picture(analysis: Analysis, measured_on: str) -> Picture:
    """The reliability diagram."""
    calibration = analysis.calibration
    error, mean = calibration.expected_calibration_error, calibration.mean_probability
    return Picture(
        "calibration",
        "Calibration",
        f"The images are sorted into {calibration.num_bins} bins of equal width by their prediction's probability. "
        "A dot on the line: the accuracy of the bin equals its mean probability; a dot above it: the network is "
        f"underconfident. The expected calibration error, {error:.4f}, is the mean over all images of the distance "
        "between the accuracy and the mean probability of an image's bin (Guo et al. 2017, On Calibration of Modern "
        "Neural Networks, arXiv:1706.04599). Bars are 95 % intervals (Wilson).",
        f"The mean probability of the predictions is {mean:.2%}; their accuracy is {analysis.accuracy:.2%}.",
        png_of(calibration_figure(calibration, measured_on)),
        ["probability", "images", "correct", "accuracy", "mean probability"],
        [
            [
                f"{each.low:.3f}–{each.high:.3f}",
                f"{each.num_images:,}",
                f"{each.num_correct:,}",
                optional_text(each.accuracy, ".2%"),
                f"{each.mean_probability:.2%}",
            ]
            for each in calibration.bins
            if each.num_images
        ],
    )


def robustness_picture(run: FinishedRun, analysis: Analysis, measured_on: str) -> Picture:
    """Accuracy on rotated and shifted images."""
    robustness = analysis.robustness
    augmentation = run.data.augmentation
    shift_pixels = augmentation.translation_percent / 100 * IMAGE_SHAPE[-1]
    if augmentation.interpolation == "nearest":
        shift_pixels = float(round(shift_pixels))  # it translates by whole pixels
    trained_up_to = {
        "rotation_degrees": augmentation.rotation_degrees,
        "translation_x_pixels": shift_pixels,
        "translation_y_pixels": shift_pixels,
    }
    alone = " The network alone, without test-time augmentation." if analysis.test_time_augmentation else ""
    rotated = robustness.rotation_degrees
    right, down = robustness.translation_x_pixels, robustness.translation_y_pixels
    curves = [("rotated by", "°", rotated), ("shifted right by", " px", right), ("shifted down by", " px", down)]
    return Picture(
        "robustness",
        "Rotated and shifted images",
        f"Each point is the accuracy on {robustness.num_images:,} images, all moved alike with bilinear interpolation; "
        f"parts outside the frame are cut off.{alone} Bands are 95 % intervals (Wilson); grey is the range of the "
        "training's own augmentation.",
        f"The accuracy is {rotated[len(rotated) // 2].accuracy:.2%} without movement, {rotated[0].accuracy:.2%} at "
        f"{rotated[0].amount}° and {rotated[-1].accuracy:.2%} at +{rotated[-1].amount}°. With shifts of up to "
        f"{right[-1].amount} pixels it is at least {_lowest(right):.2%} along x and {_lowest(down):.2%} along y.",
        png_of(robustness_figure(robustness, trained_up_to, measured_on)),
        ["moved", "correct", "accuracy"],
        [
            [
                f"{name} {point.amount:+d}{unit}" if point.amount else "not moved",
                f"{point.num_correct:,}",
                f"{point.accuracy:.2%}",
            ]
            for name, unit, points in curves
            for point in points
        ],
    )


def _lowest(points: list[Point]) -> float:
    return min(point.accuracy for point in points)
