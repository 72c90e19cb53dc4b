"""Validated checkpoints: their settings, and the classifier and data module built from them."""

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
from mnist_lightning.data.datasets import DIGITS, MNIST_PIXELS
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.network import CHANNELS, NETWORKS
from mnist_lightning.runs.checkpoint_file import CHECKPOINT_HINT, load_checkpoint

# Arguments of DigitClassifier that the training images determine; the first versions knew MNIST's digits only.
SETTINGS_OF_IMAGES = {"class_names": DIGITS, "pixel_mean": MNIST_PIXELS.mean, "pixel_std": MNIST_PIXELS.std}


class LoadedCheckpoint(NamedTuple):
    """A checkpoint whose settings and weights fit together."""

    content: dict[str, Any]  # everything in the file
    model: dict[str, Any]  # arguments of DigitClassifier
    data: dict[str, Any]  # arguments of DigitsDataModule

    def classifier(self) -> DigitClassifier:
        """The classifier, on the CPU, in float32 and evaluation mode."""
        classifier = DigitClassifier(**self.model)
        classifier.load_state_dict(self.content["state_dict"])
        return classifier.float().eval()

    def datamodule(self, data_dir: str | None) -> DigitsDataModule:
        """The data module, before `setup`.

        Args:
            data_dir: directory that holds the files, as in --data.data_dir.

        Raises:
            UserError: the images there have other classes than the classifier.
        """
        data = DigitsDataModule(**{**self.data, "data_dir": data_dir})
        check_class_names(self.model["class_names"], data)
        return data


def read_checkpoint(ckpt_path: str | Path) -> LoadedCheckpoint:
    """Reads a checkpoint and validates its settings and weights.

    Raises:
        CheckpointError: the file is missing or damaged, or its settings or weights are not this project's.
    """
    content = load_checkpoint(ckpt_path)
    model = SETTINGS_OF_IMAGES | content["hyper_parameters"]
    if isinstance(width := model.get("width"), int):  # a factor, before `channels` replaced it
        model["channels"] = [width * channels for channels in CHANNELS]
        del model["width"]
    model = checked_settings(ckpt_path, "model", DigitClassifier, model)
    data = checked_settings(ckpt_path, "data", DigitsDataModule, content["datamodule_hyper_parameters"])
    try:
        DigitsDataModule(**data)
        # The meta device allocates nothing: the settings may describe a far larger network than the file. A
        # user's network may not work there, and is built without a change to the random numbers.
        is_ours = model.get("network", "optimized") in NETWORKS
        with torch.device("meta") if is_ours else torch.random.fork_rng(devices=[]):
            expected = DigitClassifier(**model)
    except UserError as error:
        raise CheckpointError(f"--ckpt_path {ckpt_path}: its settings cannot be used: {error}") from None
    check_tensors(ckpt_path, content["state_dict"], expected.state_dict())
    return LoadedCheckpoint(content, model, data)


def check_class_names(class_names: tuple[str, ...], data: DigitsDataModule) -> None:
    """Checks that images have the classes that a network was trained on.

    Raises:
        UserError: they have others.
    """
    if class_names != data.class_names:
        raise UserError(
            f"the network was trained on the classes {', '.join(class_names)}, but {data.title} has "
            f"{', '.join(data.class_names)}. Name the images of its training with --data.dataset and --data.data_dir "
            "(`report` and `export`: --data_dir)."
        )


def checked_settings(ckpt_path: str | Path, group: str, cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Parses a class's arguments from a checkpoint with the types and bounds of the command line.

    Args:
        ckpt_path: the checkpoint, for messages.
        group: the options' group on the command line.
        cls: the class.
        settings: its arguments; missing ones keep their defaults.

    Raises:
        CheckpointError: an argument is unknown, or its value is invalid.
    """
    parameters = inspect.signature(cls).parameters
    settings = {name: value for name, value in settings.items() if name != "_instantiator"}  # Lightning's
    for name, value in settings.items():
        if name not in parameters:
            raise _not_ours(ckpt_path, f"{group}.{name} is unknown")
        if value is None and parameters[name].default is not None:  # the parser would replace it by the default
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
        f"--ckpt_path {ckpt_path} holds settings that are not this project's: {what}. {CHECKPOINT_HINT}"
    )


def check_tensors(ckpt_path: str | Path, found: dict[str, Any], expected: Mapping[str, Tensor]) -> None:
    """Checks the names, shapes and kinds of numbers of a checkpoint's tensors.

    Raises:
        CheckpointError: they differ from the expected ones.
    """
    names = sorted(found.keys() ^ expected.keys(), key=str)
    for name in names or expected:
        tensor = found.get(name)
        if not isinstance(tensor, Tensor) or name in names:
            what = f"{name!r} is {'missing' if tensor is None else 'unknown'}"
        elif tensor.shape != expected[name].shape:
            what = f"{name} has shape {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
        elif tensor.is_complex() or tensor.is_floating_point() != expected[name].is_floating_point():
            what = f"{name} has dtype {tensor.dtype} instead of {expected[name].dtype}"
        else:
            continue
        raise CheckpointError(
            f"--ckpt_path {ckpt_path}: its weights do not match the network in its settings: {what}. {CHECKPOINT_HINT}"
        )


def load_classifier(ckpt_path: str | Path) -> DigitClassifier:
    """The trained classifier, on the CPU, in float32 and evaluation mode; with averaged weights if the run kept them.

    Raises:
        CheckpointError: the file is missing, damaged, or not from this project.
    """
    return read_checkpoint(ckpt_path).classifier()
