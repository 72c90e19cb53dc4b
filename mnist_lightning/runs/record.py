"""The report of a run: what `report.json` and each checkpoint hold."""

from dataclasses import dataclass, field
from typing import Literal

from mnist_lightning.files import Count, Place, Seconds, Share
from mnist_lightning.runs.acceptance import Requirement
from mnist_lightning.runs.settings import Settings


@dataclass
class EpochRow:
    """One epoch.

    Args:
        epoch: Number of the epoch, counted from 1.
        steps: Optimizer steps since the start of training.
        train_accuracy: Accuracy on the augmented training images, measured while the weights change.
        train_loss: Mean cross-entropy on the same images.
        learning_rate: Learning rate after the epoch's last step.
        seconds: Wall-clock seconds of the epoch, validation included.
        val_accuracy: Validation accuracy; only of an epoch that was validated.
        val_loss: Mean cross-entropy in validation; only of an epoch that was validated.
        batches: Batches that the epoch trained on; not in reports of the first versions.
        batches_per_epoch: Batches of a whole epoch; not in reports of the first versions.
    """

    epoch: Place
    steps: Place
    train_accuracy: Share
    train_loss: float
    learning_rate: float
    seconds: Seconds
    val_accuracy: Share | None = None
    val_loss: float | None = None
    batches: Count | None = None
    batches_per_epoch: Count | None = None

    def __post_init__(self) -> None:
        pairs = ((self.val_accuracy, self.val_loss), (self.batches, self.batches_per_epoch))
        if any((one is None) != (other is None) for one, other in pairs):
            raise ValueError(
                f"epoch {self.epoch} lacks one of val_accuracy and val_loss, or of batches and batches_per_epoch"
            )

    @property
    def is_whole(self) -> bool:
        """Whether the epoch trained on all of its batches."""
        return self.batches == self.batches_per_epoch

    @property
    def trained_part(self) -> float:
        """The part of the epoch's batches that it trained on, in [0, 1]; 1 where a first version did not count them."""
        return (self.batches or 0) / self.batches_per_epoch if self.batches_per_epoch else 1.0


@dataclass(frozen=True)
class FinalTest:
    """The one test at the end of a run without validation.

    Args:
        accuracy: Accuracy on the test images, with test-time augmentation if the run uses it.
        loss: Mean cross-entropy on the test images.
        single_view_accuracy: Accuracy without test-time augmentation; only of a run that uses it.
        single_view_loss: Mean cross-entropy without test-time augmentation; only of a run that uses it.
    """

    accuracy: Share
    loss: float
    single_view_accuracy: Share | None = None
    single_view_loss: float | None = None


@dataclass
class ResumedPart:
    """One resumption of the run.

    Args:
        date: UTC date, YYYY-MM-DD.
        precision: The Trainer's precision, such as `32-true`.
        num_processes: Number of training processes.
        hardware: Processor, cores, threads, system, and the GPU if there is one.
        versions: Versions of Python and the packages, by name.
        after_steps: Optimizer steps that the checkpoint had taken.
    """

    date: str
    precision: str
    num_processes: Place
    hardware: dict[str, str | int]
    versions: dict[str, str]
    after_steps: Count | None = None


@dataclass
class Record:
    """The report of a run, at its end or in the middle.

    Args:
        command: The command that started the run, without paths outside the project.
        status: `running`, `finished`, or why the run ended early.
        settings: The settings that decide the result, by group and name.
        epochs: One entry for each epoch; the last one may have trained on part of its batches.
        date: UTC date of the run's start, YYYY-MM-DD.
        dataset: Title of the data set.
        validation: What is validated on: `test` images, a `holdout` from the training images, or `none`.
        validated_on: Name of the validation images.
        seed: Seed of the weights, the order of the images, augmentation and dropout.
        num_parameters: Number of trainable parameters.
        precision: The Trainer's precision, such as `32-true`.
        num_processes: Number of training processes.
        hardware: Processor, cores, threads, system, and the GPU if there is one.
        versions: Versions of Python and the packages, by name.
        resumed: One entry for each time that the run was resumed.
        wall_clock_seconds: Wall-clock seconds from the start of training to the end of the last epoch.
        requirements: The six requirements, in their order; from the end of the first epoch.
        test: The one test at the end; only with `validation` `none`.
    """

    command: str
    status: str
    settings: Settings
    epochs: list[EpochRow]
    date: str
    dataset: str
    validation: Literal["test", "holdout", "none"]
    validated_on: str
    seed: int
    num_parameters: Count
    precision: str
    num_processes: Place
    hardware: dict[str, str | int]
    versions: dict[str, str]
    resumed: list[ResumedPart] = field(default_factory=list)
    wall_clock_seconds: Seconds = 0.0
    requirements: list[Requirement] = field(default_factory=list)
    test: FinalTest | None = None

    def __post_init__(self) -> None:
        if not {"model", "trainer"} <= self.settings.keys():
            raise ValueError("settings lack model or trainer")

    @property
    def num_whole_epochs(self) -> int:
        """Number of epochs that trained on all of their batches."""
        return sum(row.is_whole for row in self.epochs)

    @property
    def epochs_trained(self) -> float:
        """Number of epochs, with the trained part of the last one as a fraction, to two decimals."""
        return round(float(sum(row.trained_part for row in self.epochs)), 2)

    @property
    def last_accuracy(self) -> float | None:
        """Accuracy in [0, 1] after the last epoch: of the one test if there was one, else of the validation."""
        if self.test is not None:
            return self.test.accuracy
        return self.epochs[-1].val_accuracy if self.epochs else None

    @property
    def last_stage(self) -> Literal["test", "val"]:
        """The stage that `last_accuracy` is of."""
        return "val" if self.test is None else "test"

    def part_text(self, stage: Literal["val", "test"]) -> str:
        """What to put before the name of the images that the run evaluated: `part of the `, or nothing."""
        return part_of(self.settings["trainer"].get(f"limit_{stage}_batches"))


def part_of(limit: float | None) -> str:
    """`part of the ` if a trainer's limit leaves batches out: the float 1.0 is all of them, the integer 1 is one."""
    return "" if limit is None or (isinstance(limit, float) and limit == 1) else "part of the "
