"""A finished run and its analysis: what `report` measures on the test images, as `analysis.json` holds it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.figures.mistakes import worst_mistakes
from mnist_lightning.files import Count, Share, from_json, one_line
from mnist_lightning.runs.checkpoint import read_checkpoint
from mnist_lightning.runs.record import Record

NUM_BINS = 15  # as in Guo et al.


@dataclass(frozen=True)
class Mistake:
    """An image that is classified wrongly.

    Args:
        index: Place of the image among the test images, counted from 0.
        label: The true class, as its place in class_names.
        prediction: The predicted class, as its place in class_names.
        probability: Probability of the prediction.
    """

    index: Count
    label: Count
    prediction: Count
    probability: Share


@dataclass(frozen=True)
class Calibration:
    """How well probabilities match accuracies, in bins of equal width from 0 to 1.

    Args:
        expected_calibration_error: Mean over the images of the distance between the accuracy
            and the mean probability of their bin.
        num_images: Number of images in each bin, by increasing probability of the prediction.
        num_correct: Number of images in each bin that are classified correctly.
        mean_probabilities: Mean probability of the predictions in each bin; 0 in an empty one.
    """

    expected_calibration_error: Share
    num_images: list[Count]
    num_correct: list[Count]
    mean_probabilities: list[Share]


@dataclass(frozen=True)
class Analysis:
    """What `report` measured on the test images of a run.

    Args:
        num_images: Number of test images.
        accuracy: Part of the images that are classified correctly.
        class_names: Names of the classes.
        confusion: Number of images: rows are true classes, columns predicted classes.
        mistakes: All mistakes, the most confident first.
        calibration: Calibration of the probabilities.
    """

    num_images: Count
    accuracy: Share
    class_names: list[str]
    confusion: list[list[Count]]
    mistakes: list[Mistake]
    calibration: Calibration


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder with its last weights."""

    folder: Path
    record: Record
    num_steps: int  # optimizer steps that the weights have taken
    classifier: DigitClassifier  # in evaluation mode, on the CPU
    data: DigitsDataModule

    @property
    def weights_title(self) -> str:
        """Which weights these are: `last.ckpt, after epoch 15 (step 1,770)`."""
        epochs = [row.epoch for row in self.record.epochs if row.steps == self.num_steps and row.is_whole]
        place = f"after epoch {epochs[0]} (step {self.num_steps:,})" if epochs else f"after step {self.num_steps:,}"
        return f"last.ckpt, {place}"

    @property
    def part_of_the_test_images(self) -> str:
        """What the test images chose, in a sentence: if they chose anything, figures on them are too optimistic."""
        if self.record.validation == "none":
            return "The test images chose nothing: the run was not validated, and they were read after training only."
        if self.record.validation == "holdout":
            return f"The test images chose nothing: {one_line(self.record.validated_on)} were validated on."
        looked = "The test images were looked at after each epoch"
        if self.record.status.startswith("stopped after"):
            return f"{looked}, and chose when the run stopped: on new images, accuracy is likely to be slightly lower."
        return f"{looked}, but chose neither when this run ended nor which of its weights are shown."


def read_run(folder: Path, data_dir: str | None = None, network: str | None = None) -> FinishedRun:
    """Reads a run's record and last checkpoint; its images are read later, from `data_dir`."""
    path = folder / "report.json"
    if not path.is_file():
        raise UserError(f"RUN {folder}: it holds no report.json. Name a folder such as runs/optimized/version_0.")
    try:
        record = from_json(Record, path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"RUN {folder}: report.json is damaged ({one_line(str(error))}). Name another run.") from None
    last = read_checkpoint(folder / "checkpoints" / "last.ckpt", network)
    return FinishedRun(folder, record, last.content["global_step"], last.classifier(), last.datamodule(data_dir))


@torch.inference_mode()
def predict(run: FinishedRun, images: Tensor) -> Tensor:
    """Probabilities (N, num_classes) of images (N, 1, 28, 28) uint8, with test-time augmentation if the run has it."""
    return torch.cat([run.classifier.probabilities(part) for part in images.split(run.data.eval_batch_size)])


def analyse(run: FinishedRun, test: LabelledImages, probabilities: Tensor) -> Analysis:
    """The figures of a run on its N test images, with probabilities (N, num_classes) float."""
    certainties, classes = probabilities.max(dim=1)
    counts = multiclass_confusion_matrix(classes, test.labels, len(run.classifier.class_names))  # [true, predicted]
    return Analysis(
        num_images=len(test.labels),
        accuracy=int(counts.trace()) / len(test.labels),
        class_names=list(run.classifier.class_names),
        confusion=counts.tolist(),
        mistakes=[
            Mistake(index, int(test.labels[index]), int(classes[index]), float(certainties[index]))
            for index in worst_mistakes(test.labels, probabilities).tolist()
        ],
        calibration=calibration_of(test.labels, probabilities),
    )


def calibration_of(labels: Tensor, probabilities: Tensor) -> Calibration:
    """The calibration of labels (N,) int64 and probabilities (N, C) float: Guo et al., arXiv:1706.04599.

    Not by torchmetrics, which puts probabilities of exactly 1 into a bin of their own.
    """
    certainties, classes = probabilities.max(dim=1)
    edges = torch.linspace(0, 1, NUM_BINS + 1, dtype=certainties.dtype)
    places = torch.bucketize(certainties, edges[1:-1], right=True)  # (N,) in 0..14: bins [low, high), the last closed
    num_images = places.bincount(minlength=NUM_BINS)
    num_correct = places[classes == labels].bincount(minlength=NUM_BINS)
    sums = places.bincount(certainties.double(), minlength=NUM_BINS)
    return Calibration(
        expected_calibration_error=float((num_correct - sums).abs().sum()) / len(labels),
        num_images=num_images.tolist(),
        num_correct=num_correct.tolist(),
        mean_probabilities=(sums / num_images.clamp(min=1)).tolist(),
    )
