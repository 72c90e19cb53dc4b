"""Settings that each are of the right type, but cannot work together, on this machine, or at all."""

import re
from typing import Any

import torch
from jsonargparse import Namespace

from mnist_lightning.datamodule import NUM_TRAINING_IMAGES
from mnist_lightning.environment import num_cores
from mnist_lightning.errors import SettingError

PROGRAM = "python -m mnist_lightning"


def check_fit_settings(config: Any) -> None:
    """Checks what `fit` was asked for, before any work.

    Raises:
        SettingError: there is no config, no end, or an option that would do something else than its name says.
    """
    if not config.config:
        raise SettingError(f"fit needs a config: `{PROGRAM} fit --config configs/optimized.yaml`.")
    if config.trainer.max_epochs is None and config.trainer.max_steps == -1:
        raise SettingError(
            "--trainer.max_epochs is not set: the configs given say nothing of when to end. "
            "Put configs/optimized.yaml before an overlay such as configs/cpu.yaml, or add --trainer.max_epochs 15."
        )
    if config.trainer.limit_train_batches == 0:
        raise SettingError("--trainer.limit_train_batches 0 leaves nothing to train on. Use 1 or more.")
    if config.trainer.overfit_batches != 0:
        raise SettingError(
            f"--trainer.overfit_batches {config.trainer.overfit_batches}: the framework would replace the sampler. "
            "Use --trainer.limit_train_batches, with no augmentation to see the same images again."
        )


def check_groups(config: Any) -> None:
    """Checks that no config puts a single value in the place of a group of options.

    Raises:
        SettingError: one does.
    """
    for name in ("trainer", "model", "data", "early_stopping", "weight_average"):
        if name in config and not isinstance(config[name], Namespace):
            raise SettingError(f"{name}: {config[name]} in a config takes away all of its options. Leave it away.")


def check_run_name(name: str) -> None:
    """Checks that a run's name can be a folder's.

    Raises:
        SettingError: it holds anything but letters, digits, '.', '_' and '-'.
    """
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise SettingError(f"--run_name {name}: use letters, digits, '.', '_' and '-' only.")


def checked_seed(seed: bool | int) -> int:
    """The seed itself, if it is one.

    Raises:
        ValueError: it is true, false or out of numpy's range; the parser adds the way out.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"{seed} is no seed")
    return seed


def check_accelerator(accelerator: Any) -> None:
    """Checks that there is a GPU where one is asked for.

    Raises:
        SettingError: there is none.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise SettingError(
            f"--trainer.accelerator {accelerator}: this machine shows PyTorch no CUDA GPU. "
            "Use --trainer.accelerator cpu, or --config configs/cpu.yaml in place of configs/gpu.yaml."
        )


MIN_PROCESSES_TO_ALLOW = 8  # to try out on any machine how processes share the work


def check_devices(accelerator: Any, devices: Any) -> None:
    """Checks the number of processes that are to train on a CPU.

    Raises:
        SettingError: it is no such number, or far beyond the cores: each process takes its memory first.
    """
    if accelerator != "cpu" and not (accelerator == "auto" and not torch.accelerator.is_available()):
        return
    most = max(num_cores(), MIN_PROCESSES_TO_ALLOW)
    is_count = re.fullmatch("[1-9][0-9]{0,3}", str(devices)) and int(devices) <= most
    if devices != "auto" and not is_count:
        raise SettingError(
            f"--trainer.devices {str(devices)[:40]}: on a CPU it is a number of processes, from 1 to {most} here. "
            "Leave it away, or use 1."
        )


def check_limits(trainer: Any) -> None:
    """Checks what part of the batches is asked for, and how often validation is.

    Raises:
        SettingError: it is neither a whole number nor a share.
    """
    smallest = dict.fromkeys([f"limit_{stage}_batches" for stage in ("train", "val", "test", "predict")], 0)
    for name, least in (smallest | {"val_check_interval": 1}).items():
        value = trainer.get(name)
        if value is None or (isinstance(value, int) and value >= least):
            continue
        if not ((isinstance(value, float) and 0 < value <= 1) or value == least):
            raise SettingError(
                f"--trainer.{name} {value}: use a number of batches, at least {least}, or a share such as 0.5 or 1.0."
            )


def check_holdout(data: Any) -> None:
    """Checks that holding images out leaves some to train on.

    Raises:
        SettingError: it does not.
    """
    num_images = NUM_TRAINING_IMAGES[data.dataset]
    if data.validation == "holdout" and data.num_holdout >= num_images:
        raise SettingError(
            f"--data.num_holdout {data.num_holdout} leaves nothing to train on: there are {num_images} training "
            "images. Hold out fewer."
        )
