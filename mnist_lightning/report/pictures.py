"""A run's figures with what there is to say of them, for the page and for Markdown alike."""

from dataclasses import dataclass

from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.network import IMAGE_SHAPE, NUM_CLASSES
from mnist_lightning.report.calibration import calibration_figure
from mnist_lightning.report.confusion import confusion_figure
from mnist_lightning.report.drawing import png_of
from mnist_lightning.report.evaluation import Curve
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.report.learning_curves import learning_curves_figure
from mnist_lightning.report.measurements import Numbers
from mnist_lightning.report.mistakes import NUM_SHOWN, mistakes_figure
from mnist_lightning.report.robustness import robustness_figure


@dataclass(frozen=True)
class Picture:
    """A figure, its text and its numbers."""

    name: str  # of the file
    heading: str
    caption: str  # how it was measured
    alt: str  # what it shows, for who cannot see it
    png: bytes
    columns: list[str]  # the heads of the table of its numbers
    rows: list[list[str]]


def learning_curves_picture(run: FinishedRun) -> Picture:
    """Loss, accuracy and learning rate."""
    rows = run.report["epochs"]
    validated = [row for row in rows if "val_accuracy" in row]
    alt = f"{len(rows)} epochs."
    if rows:
        alt += f" Training accuracy goes from {rows[0]['train_accuracy']:.2%} to {rows[-1]['train_accuracy']:.2%}"
        alt += f", training loss from {rows[0]['train_loss']:.4f} to {rows[-1]['train_loss']:.4f}."
    if validated:
        alt += f" Validation accuracy from {validated[0]['val_accuracy']:.2%} to {validated[-1]['val_accuracy']:.2%}."
    return Picture(
        "learning_curves",
        "Learning curves",
        "Training is measured while the weights change, on augmented images and with dropout, if the run has them; "
        "validation after each epoch without either. On the axis of accuracy each halving of the mistakes has the same "
        "height. Dots of the learning rate are read after each epoch's last step.",
        alt,
        png_of(learning_curves_figure(run.report)),
        ["epoch", "training loss", "training accuracy", "validation loss", "validation accuracy", "learning rate"],
        [
            [
                str(row["epoch"]),
                f"{row['train_loss']:.4f}",
                f"{row['train_accuracy']:.2%}",
                f"{row['val_loss']:.4f}" if "val_loss" in row else "–",
                f"{row['val_accuracy']:.2%}" if "val_accuracy" in row else "–",
                f"{row['learning_rate']:.6f}",
            ]
            for row in rows
        ],
    )


def confusion_picture(counts: Tensor, numbers: Numbers, measured_on: str) -> Picture:
    """Counts (10, 10), rows true and columns predicted digits."""
    off_diagonal = counts.clone().fill_diagonal_(0)
    true, predicted = divmod(int(off_diagonal.argmax()), NUM_CLASSES)
    alt = f"{numbers['num_correct']:,} of {numbers['num_images']:,} are right."
    if off_diagonal.any():
        most = int(off_diagonal[true, predicted])
        alt += f" The most frequent mistake, made {most} times: a {true} is taken for a {predicted}."
    return Picture(
        "confusion",
        "Confusion matrix",
        "Rows are true digits, columns what they were taken for. Right ones are grey; the more frequent a mistake, the "
        "darker its orange. Percentages: the share of each digit that is recognised.",
        alt,
        png_of(confusion_figure(counts, measured_on)),
        ["digit", "images", "right", "share", "taken for"],
        [
            [
                str(each["digit"]),
                f"{each['num_images']:,}",
                f"{each['num_correct']:,}",
                "–" if each["accuracy"] is None else f"{each['accuracy']:.2%}",
                ", ".join(
                    f"{other} (×{count})" for other, count in enumerate(off_diagonal[each["digit"]].tolist()) if count
                )
                or "–",
            ]
            for each in numbers["per_class"]
        ],
    )


def mistakes_picture(test: LabelledImages, probabilities: Tensor, numbers: Numbers) -> Picture:
    """The wrong ones among N images with probabilities (N, 10)."""
    mistakes = numbers["mistakes"]
    alt = "No image is classified wrongly."
    if mistakes:
        worst = mistakes[0]
        alt = (
            f"{len(mistakes[:NUM_SHOWN])} images. The worst, number {worst['index']:,}, is a {worst['label']} taken "
            f"for a {worst['prediction']} with probability {worst['probability']:.1%}."
        )
    return Picture(
        "mistakes",
        "Worst mistakes",
        "The wrong predictions that the network is most certain of, the worst first. The number is the image's place "
        "in the file, counted from 0.",
        alt,
        png_of(mistakes_figure(test.images, test.labels, probabilities)),
        ["image", "true digit", "taken for", "probability"],
        [
            [f"{each['index']:,}", str(each["label"]), str(each["prediction"]), f"{each['probability']:.2%}"]
            for each in mistakes[:NUM_SHOWN]
        ],
    )


def calibration_picture(test: LabelledImages, probabilities: Tensor, numbers: Numbers, measured_on: str) -> Picture:
    """The reliability diagram of N images with probabilities (N, 10)."""
    calibration = numbers["calibration"]
    error, mean = calibration["expected_calibration_error"], calibration["mean_probability"]
    return Picture(
        "calibration",
        "Calibration",
        f"Images are put into {calibration['num_bins']} equally wide bins by the probability of their prediction. "
        "Where the dots lie on the line, the network is right as often as it says; above, it is more often. The "
        f"expected calibration error, {error:.4f}, is the mean over all images of the distance between the accuracy "
        "and the mean probability of an image's bin (Guo et al. 2017, On Calibration of Modern Neural Networks, "
        "arXiv:1706.04599). Bars are 95 % intervals (Wilson).",
        f"The network gives its predictions a mean probability of {mean:.2%}, and {numbers['accuracy']:.2%} are right.",
        png_of(calibration_figure(test.labels, probabilities, measured_on)),
        ["probability", "images", "right", "share", "mean probability"],
        [
            [
                f"{each['low']:.3f}–{each['high']:.3f}",
                f"{each['num_images']:,}",
                f"{each['num_correct']:,}",
                f"{each['accuracy']:.2%}",
                f"{each['mean_probability']:.2%}",
            ]
            for each in calibration["bins"]
            if each["num_images"]
        ],
    )


def robustness_picture(run: FinishedRun, curves: list[Curve], measured_on: str) -> Picture:
    """Accuracy under rotations and shifts."""
    augmentation = run.data.augmentation
    shift_pixels = augmentation.translation_percent / 100 * IMAGE_SHAPE[-1]
    trained_up_to = {
        "rotation_degrees": augmentation.rotation_degrees,
        "translation_x_pixels": shift_pixels,
        "translation_y_pixels": shift_pixels,
    }
    rotation, shift_x, shift_y = curves
    alone = " The network alone, without test-time augmentation." if run.classifier.test_time_augmentation else ""
    names = [("rotated by", "°"), ("shifted right by", " px"), ("shifted down by", " px")]
    return Picture(
        "robustness",
        "Rotated and shifted images",
        f"Each point is an accuracy on {rotation.num_images:,} images, all moved alike with bilinear interpolation; "
        f"what leaves the frame is lost.{alone} Bands are 95 % intervals (Wilson); grey is what training itself drew "
        "from, where it augmented.",
        f"Accuracy is {rotation.accuracies()[len(rotation.amounts) // 2]:.2%} unmoved; "
        f"{rotation.accuracies()[0]:.2%} at {rotation.amounts[0]}° and {rotation.accuracies()[-1]:.2%} at "
        f"+{rotation.amounts[-1]}°; at worst {min(shift_x.accuracies()):.2%} shifted along x and "
        f"{min(shift_y.accuracies()):.2%} along y, by up to {shift_x.amounts[-1]} pixels.",
        png_of(robustness_figure(curves, trained_up_to, measured_on)),
        ["moved", "right", "accuracy"],
        [
            [
                f"{name} {amount:+d}{unit}" if amount else "not moved",
                f"{correct:,}",
                f"{correct / curve.num_images:.2%}",
            ]
            for (name, unit), curve in zip(names, curves, strict=True)
            for amount, correct in zip(curve.amounts, curve.num_correct, strict=True)
        ],
    )
