"""What a checkpoint holds, checked: its settings, and outside the Trainer the classifier and the data they make."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from mnist_lightning.bounds import bound_trainer_options
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule, check_holdout
from mnist_lightning.errors import CheckpointError, SettingError
from mnist_lightning.runs.checkpoint_file import NAME_ANOTHER, load_checkpoint


class Trained(NamedTuple):
    """A checkpoint whose settings and weights fit together."""

    content: dict[str, Any]  # all that the file holds
    model: dict[str, Any]  # the arguments of DigitClassifier
    data: dict[str, Any]  # the arguments of DigitsDataModule

    def classifier(self) -> DigitClassifier:
        """The classifier, on the CPU, in float32 and evaluation mode."""
        classifier = DigitClassifier(**self.model)
        classifier.load_state_dict(self.content["state_dict"])
        return classifier.float().eval()

    def datamodule(self, data_dir: str | None) -> DigitsDataModule:
        """The data module, whose images `setup` reads.

        Args:
            data_dir: where the files lie, as for --data.data_dir.
        """
        return DigitsDataModule(**{**self.data, "data_dir": data_dir})


def read_checkpoint(ckpt_path: str | Path) -> Trained:
    """Reads a checkpoint, and checks what every command needs of it.

    Raises:
        CheckpointError: the file is missing or damaged, or holds settings or weights that are not this project's.
    """
    content = load_checkpoint(ckpt_path)
    model = checked_settings(ckpt_path, "model", DigitClassifier, content["hyper_parameters"])
    data = checked_settings(ckpt_path, "data", DigitsDataModule, content["datamodule_hyper_parameters"])
    try:
        check_holdout(DigitsDataModule(**data))
        with torch.device("meta"):  # no memory for weights: the file may name a network far larger than itself
            expected = DigitClassifier(**model)
    except SettingError as error:
        raise CheckpointError(f"--ckpt_path {ckpt_path}: its settings do not fit together: {error}") from None
    check_tensors(ckpt_path, content["state_dict"], expected.state_dict())
    return Trained(content, model, data)


def checked_settings(ckpt_path: str | Path, group: str, cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """A class's arguments as a checkpoint has them, of the types and within the bounds that the command line asks for.

    Args:
        ckpt_path: the checkpoint.
        group: the options' name on the command line.
        cls: the class.
        settings: its arguments; those that are not named have their defaults.

    Raises:
        CheckpointError: one is unknown, or its value is not possible.
    """
    parameters = inspect.signature(cls).parameters
    settings = {name: value for name, value in settings.items() if name != "_instantiator"}  # of the framework's
    for name, value in settings.items():
        if name not in parameters:
            raise _not_ours(ckpt_path, f"{group}.{name} is unknown")
        if value is None and parameters[name].default is not None:  # which the parser takes for the default
            raise _not_ours(ckpt_path, f"{group}.{name} is null")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, group)
    bound_trainer_options(parser)
    try:
        parsed = parser.parse_object({group: settings})[group].as_dict()
    except ArgumentError as error:
        key = re.match(rf'Parser key "{group}\.(\w+)"', str(error))
        raise _not_ours(ckpt_path, f"{group}.{key[1]} is {settings[key[1]]!r}" if key else str(error)) from None
    return {name: parsed[name] for name in settings}


def _not_ours(ckpt_path: str | Path, what: str) -> CheckpointError:
    what = "".join(character for character in what if character.isprintable())[:200]
    return CheckpointError(
        f"--ckpt_path {ckpt_path} holds settings that are not this project's: {what}. {NAME_ANOTHER}"
    )


def check_tensors(ckpt_path: str | Path, found: dict[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Checks that there are the tensors that there shall be, of their shapes and kinds of numbers.

    Raises:
        CheckpointError: there are others.
    """
    names = sorted(found.keys() ^ expected.keys(), key=str)
    for name in names or expected:
        tensor = found.get(name)
        if not isinstance(tensor, Tensor) or name in names:
            what = f"{name!r} is {'missing' if tensor is None else 'unknown'}"
        elif tensor.shape != expected[name].shape:
            what = f"{name} is of shape {tuple(tensor.shape)}, and not {tuple(expected[name].shape)}"
        elif tensor.is_complex() or tensor.is_floating_point() != expected[name].is_floating_point():
            what = f"{name} is of {tensor.dtype}, and not {expected[name].dtype}"
        else:
            continue
        raise CheckpointError(
            f"--ckpt_path {ckpt_path} holds the weights of another network than it says: {what}. {NAME_ANOTHER}"
        )


def load_classifier(ckpt_path: str | Path) -> DigitClassifier:
    """The trained classifier, on the CPU, in float32 and evaluation mode; the average of the weights if one was kept.

    Raises:
        CheckpointError: the file is missing, damaged, or of no network of this project.
    """
    return read_checkpoint(ckpt_path).classifier()
