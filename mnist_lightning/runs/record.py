"""The record of a run: what `report.json` and each checkpoint hold, with the hardware and the versions."""

import os
import platform
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

import torch

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
        resumed_after: Optimizer steps that were done, for each time that the run was resumed.
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
    resumed_after: list[Count] = field(default_factory=list)
    wall_clock_seconds: Seconds = 0.0
    requirements: list[Requirement] = field(default_factory=list)
    test: FinalTest | None = None

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

    def part_text(self, stage: Literal["val", "test"]) -> str:
        """What to put before the name of the images that the run evaluated: `part of the `, or nothing."""
        return part_of(self.settings["trainer"].get(f"limit_{stage}_batches"))


def part_of(limit: float | None) -> str:
    """`part of the ` if a trainer's limit leaves batches out: the float 1.0 is all of them, the integer 1 is one."""
    return "" if limit is None or (isinstance(limit, float) and limit == 1) else "part of the "


def versions() -> dict[str, str]:
    """Versions of Python and of every package that a result may depend on."""
    packages = ("mnist_lightning", "torch", "lightning", "torchvision", "numpy")
    return {"python": platform.python_version()} | {name: import_module(name).__version__ for name in packages}


def hardware() -> dict[str, str | int]:
    """Processor, available cores, PyTorch's threads, system, and the GPU if there is one."""
    found: dict[str, str | int] = {
        "processor": _processor_name(),
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return found | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def num_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
