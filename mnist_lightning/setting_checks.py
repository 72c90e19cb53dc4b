"""Settings that each are of the right type, but cannot work together, on this machine, or at all."""

import re
from typing import Any

import torch

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
    for name in ("max_epochs", "max_steps"):
        value = config.trainer[name]
        if value is not None and value < 1 and value != -1:
            raise SettingError(f"--trainer.{name} {value}: use 1 or more, or -1 for no limit.")
    if config.trainer.overfit_batches != 0:
        raise SettingError(
            f"--trainer.overfit_batches {config.trainer.overfit_batches}: the framework would replace the sampler. "
            "Use --trainer.limit_train_batches, with no augmentation to see the same images again."
        )


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
