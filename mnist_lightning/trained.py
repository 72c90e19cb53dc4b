"""What a checkpoint holds, outside the Trainer: the classifier in evaluation mode, and the data it was trained with."""

import inspect
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from mnist_lightning.checkpoints import load_checkpoint
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError, SettingError

Module = TypeVar("Module", DigitClassifier, DigitsDataModule)


def load_classifier(ckpt_path: str | Path) -> DigitClassifier:
    """The trained classifier, on the CPU, in float32 and evaluation mode; the average of the weights if one was kept.

    Raises:
        CheckpointError: the file is missing, damaged, or of no network of this project.
    """
    checkpoint = load_checkpoint(ckpt_path)
    classifier = _built(DigitClassifier, checkpoint["hyper_parameters"], ckpt_path)
    try:
        classifier.load_state_dict(checkpoint["state_dict"])
    except RuntimeError:
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
    return _built(DigitsDataModule, settings | {"data_dir": data_dir}, ckpt_path)


def _built(cls: type[Module], settings: dict[str, object], ckpt_path: str | Path) -> Module:
    """The module with a checkpoint's settings, of the types and within the bounds that the command line asks for."""
    known = {name: value for name, value in settings.items() if name in inspect.signature(cls).parameters}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "module")
    try:
        return cls(**parser.parse_object({"module": known}).module.as_dict())
    except (ArgumentError, SettingError):
        raise CheckpointError(
            f"--ckpt_path {ckpt_path} holds settings that are not this project's. Name a .ckpt file that `fit` wrote."
        ) from None
