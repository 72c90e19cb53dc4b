"""What `report` measures, as `analysis.json` holds it: no number is in a picture alone."""

from dataclasses import dataclass

from torch import Tensor

from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.files import Count, Share
from mnist_lightning.report import CheckpointName
from mnist_lightning.report.calibration import Calibration, calibration_of, share
from mnist_lightning.report.confusion import confusion_counts
from mnist_lightning.report.evaluation import Robustness
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.runs.predictions import worst_mistakes


@dataclass(frozen=True)
class ClassFigures:
    """The images of one class.

    Args:
        name: Name of the class.
        num_images: Number of images.
        num_correct: Number of images that are classified correctly.
        accuracy: num_correct / num_images; null if there is no image.
    """

    name: str
    num_images: Count
    num_correct: Count
    accuracy: Share | None


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
class Analysis:
    """What `report` measured on the test images of a run.

    Args:
        dataset: Title of the data set.
        checkpoint: The checkpoint whose weights were evaluated: `last` or `best`.
        steps: Optimizer steps that these weights have taken.
        num_images: Number of test images.
        num_correct: Number of images that are classified correctly.
        accuracy: num_correct / num_images.
        test_time_augmentation: Whether these figures use test-time augmentation.
        class_names: Names of the classes.
        per_class: One entry for each class.
        confusion: Number of images: rows are true classes, columns predicted classes.
        mistakes: All mistakes, the most confident first.
        calibration: Calibration of the probabilities.
        robustness: Accuracy on moved images.
    """

    dataset: str
    checkpoint: CheckpointName
    steps: Count
    num_images: Count
    num_correct: Count
    accuracy: Share
    test_time_augmentation: bool
    class_names: list[str]
    per_class: list[ClassFigures]
    confusion: list[list[Count]]
    mistakes: list[Mistake]
    calibration: Calibration
    robustness: Robustness


def analyse(run: FinishedRun, test: LabelledImages, probabilities: Tensor, robustness: Robustness) -> Analysis:
    """The figures of a run on its N test images, with probabilities (N, num_classes) float."""
    counts: list[list[int]] = confusion_counts(test.labels, probabilities).tolist()
    certainties, classes = probabilities.max(dim=1)
    num_images, num_correct = len(test.labels), int((classes == test.labels).sum())
    names = run.classifier.class_names
    return Analysis(
        dataset=run.data.title,
        checkpoint=run.checkpoint,
        steps=run.num_steps,
        num_images=num_images,
        num_correct=num_correct,
        accuracy=num_correct / num_images,
        test_time_augmentation=run.classifier.test_time_augmentation,
        class_names=list(names),
        per_class=[
            ClassFigures(names[label], sum(row), row[label], share(row[label], sum(row)))
            for label, row in enumerate(counts)
        ],
        confusion=counts,
        mistakes=[
            Mistake(index, int(test.labels[index]), int(classes[index]), float(certainties[index]))
            for index in worst_mistakes(test.labels, probabilities).tolist()
        ],
        calibration=calibration_of(test.labels, probabilities),
        robustness=robustness,
    )
