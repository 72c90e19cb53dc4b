"""What a checkpoint holds, outside the Trainer: the classifier in evaluation mode, and the data it was trained with."""

import inspect
from pathlib import Path
from typing import Any

from mnist_lightning.checkpoints import load_checkpoint
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError


def load_classifier(ckpt_path: str | Path) -> DigitClassifier:
    """The trained classifier, on the CPU, in float32 and evaluation mode; the average of the weights if one was kept.

    Raises:
        CheckpointError: the file is missing, damaged, or of no network of this project.
    """
    checkpoint = load_checkpoint(ckpt_path)
    try:
        classifier = DigitClassifier(**_arguments(DigitClassifier, checkpoint["hyper_parameters"]))
        classifier.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, TypeError, ValueError):
        raise CheckpointError(
            f"--ckpt_path {ckpt_path} holds the weights of another network than it says. "
            "Name a .ckpt file that `fit` wrote."
        ) from None
    return classifier.float().eval()


def load_datamodule(ckpt_path: str | Path, data_dir: str | None = None) -> DigitsDataModule:
    """The data module with the settings of the checkpoint's training; its images are read by `setup`.

    Args:
        ckpt_path: the checkpoint.
        data_dir: where the files lie, as for the command line's --data.data_dir.

    Raises:
        CheckpointError: the file is missing or damaged, or holds no settings of this project's data.
    """
    settings = load_checkpoint(ckpt_path)["datamodule_hyper_parameters"]
    try:
        return DigitsDataModule(data_dir=data_dir, **_arguments(DigitsDataModule, settings))
    except TypeError:
        raise CheckpointError(f"--ckpt_path {ckpt_path} holds settings that are not this project's.") from None


def _arguments(cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a checkpoint's settings that the class takes; the framework adds some of its own."""
    return {name: value for name, value in settings.items() if name in inspect.signature(cls).parameters}
