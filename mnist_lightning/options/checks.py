"""Settings that each are of the right type, but cannot work together, on this machine, or at all."""

import os
import re
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.plugins import CheckpointIO

from mnist_lightning.errors import PROGRAM, SettingError
from mnist_lightning.runs.environment import num_cores


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


def check_trainer(trainer: Any) -> None:
    """Checks for what Lightning has options for, but this project no use, or what would do nothing, hang or mislead.

    Raises:
        SettingError: such an option is set.
    """
    refused = {
        "overfit_batches": (
            trainer.overfit_batches != 0,
            "Lightning would replace the sampler. Use --trainer.limit_train_batches, with no augmentation to see the "
            "same images again.",
        ),
        "barebones": (
            trainer.barebones,
            "it leaves no metrics to report. Use --trainer.logger false, --trainer.enable_checkpointing false and "
            "--trainer.enable_progress_bar false.",
        ),
        "model_registry": (
            trainer.model_registry is not None,
            "checkpoints are written into the run's folder, and to no registry. Omit it.",
        ),
        "use_distributed_sampler": (
            trainer.use_distributed_sampler,
            "the project's own samplers share out the images among processes. Omit it.",
        ),
        "sync_batchnorm": (
            trainer.sync_batchnorm and not torch.cuda.is_available(),
            "PyTorch's synchronised batch norm needs GPUs. Omit it.",
        ),
        "gradient_clip_algorithm": (
            trainer.gradient_clip_algorithm is not None and not trainer.gradient_clip_val,
            "without --trainer.gradient_clip_val, nothing is clipped. Add --trainer.gradient_clip_val 1.",
        ),
        "profiler": (trainer.profiler == "xla", "it is for TPUs. Use simple, advanced or pytorch."),
        "min_epochs": (
            0 < (trainer.max_epochs or 0) < (trainer.min_epochs or 0),
            f"more than --trainer.max_epochs {trainer.max_epochs}. Use a larger --trainer.max_epochs.",
        ),
        "strategy": (
            re.search("spawn|fork|notebook", str(trainer.strategy)) is not None,
            "a run cannot be handed over from one process to others. Use --trainer.strategy ddp.",
        ),
        "num_nodes": (
            trainer.num_nodes > 1 and not _is_launched(),
            "without a launcher the run would wait for other nodes. Start it on each with torchrun, or under SLURM.",
        ),
    }
    for name, (is_refused, reason) in refused.items():
        if is_refused:
            value = "true" if trainer[name] is True else trainer[name]
            raise SettingError(f"--trainer.{name} {value}: {reason}")


def _is_launched() -> bool:
    """Whether torchrun, a cluster's scheduler or the user has told this process where the others are."""
    environments = (LSFEnvironment, MPIEnvironment, SLURMEnvironment, TorchElasticEnvironment)
    return "MASTER_ADDR" in os.environ or any(environment.detect() for environment in environments)


def check_added(callbacks: Sequence[Any], plugins: Sequence[Any]) -> None:
    """Checks the callbacks and plugins that options add for those that do not go with the project's own.

    Raises:
        SettingError: there is one.
    """
    reasons: dict[type, str] = {
        BatchSizeFinder: "it trains before the run starts, and the report would count that. Set --data.batch_size.",
        LearningRateFinder: "it trains before the run starts, and the report would count that. Set --model.max_lr.",
        StochasticWeightAveraging: "it takes the learning rate's schedule away. Use --weight_average.decay 0.99.",
        CheckpointIO: "checkpoints are written in one way, each whole or not at all. Omit it.",
    }
    for option, added in (("callbacks", callbacks), ("plugins", plugins)):
        for part in added:
            for refused, reason in reasons.items():
                if isinstance(part, refused):
                    raise SettingError(f"--trainer.{option} {type(part).__name__}: {reason}")
