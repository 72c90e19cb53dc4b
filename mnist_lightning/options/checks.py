"""Checks of settings that have the right type, but do not work together, on this machine, or at all."""

import os
import re
from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.plugins import CheckpointIO

from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.runs.environment import num_cores


def check_fit_settings(config: Any) -> None:
    """Checks the settings of `fit` before any work.

    Raises:
        UserError: a config, an end or training batches are missing.
    """
    if not config.config:
        raise UserError(f"fit needs a config: `{PROGRAM} fit --config configs/optimized.yaml`.")
    if config.trainer.max_epochs is None and config.trainer.max_steps == -1:
        raise UserError(
            "--trainer.max_epochs and --trainer.max_steps are not set. "
            "Put configs/optimized.yaml before an overlay such as configs/cpu.yaml, or add --trainer.max_epochs 15."
        )
    if config.trainer.fast_dev_run and config.ckpt_path:
        raise UserError("--trainer.fast_dev_run tries a run from its start. Omit it, or --ckpt_path.")
    if config.trainer.limit_train_batches == 0:
        raise UserError("--trainer.limit_train_batches 0 leaves nothing to train on. Use 1 or more.")


def check_run_name(name: str) -> None:
    """Checks that a run's name can name a folder.

    Raises:
        UserError: it contains anything but letters, digits, '.', '_' and '-'.
    """
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise UserError(f"--run_name {name}: use letters, digits, '.', '_' and '-' only.")


def checked_seed(seed: bool | int) -> int:
    """Returns the seed.

    Raises:
        ValueError: it is true, false or outside of numpy's range; the parser adds the hint.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"{seed} is not a seed")
    return seed


def check_accelerator(accelerator: Any) -> None:
    """Checks that a requested GPU exists.

    Raises:
        UserError: PyTorch finds none.
    """
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise UserError(
            f"--trainer.accelerator {accelerator}: PyTorch finds no CUDA GPU on this machine. "
            "Use --trainer.accelerator cpu, or --config configs/cpu.yaml instead of configs/gpu.yaml."
        )


MIN_PROCESSES_TO_ALLOW = 8  # so that ddp can be tried on any machine


def check_devices(accelerator: Any, devices: Any) -> None:
    """Checks the number of processes that train on a CPU.

    Raises:
        UserError: it is not a number, or far above the number of cores, which would exhaust the memory.
    """
    if accelerator != "cpu" and not (accelerator == "auto" and not torch.accelerator.is_available()):
        return
    most = max(num_cores(), MIN_PROCESSES_TO_ALLOW)
    is_count = re.fullmatch("[1-9][0-9]{0,3}", str(devices)) and int(devices) <= most
    if devices != "auto" and not is_count:
        raise UserError(
            f"--trainer.devices {str(devices)[:40]}: on a CPU, use a number of processes from 1 to {most}, or omit it."
        )


def check_trainer(trainer: Any) -> None:
    """Checks for options of Lightning's Trainer that would mislead, hang or have no effect in this project.

    Raises:
        UserError: one is set.
    """
    refused = {
        "overfit_batches": (
            trainer.overfit_batches != 0,
            "Lightning would replace the sampler. Use --trainer.limit_train_batches; without augmentation, every "
            "epoch has the same images.",
        ),
        "barebones": (
            trainer.barebones,
            "it disables the metrics that the report needs. Use --trainer.logger false, "
            "--trainer.enable_checkpointing false and --trainer.enable_progress_bar false.",
        ),
        "model_registry": (
            trainer.model_registry is not None,
            "checkpoints are written to the run's folder only. Omit it.",
        ),
        "val_check_interval": (
            isinstance(trainer.val_check_interval, int) or trainer.val_check_interval not in (None, 1.0),
            "the report and best.ckpt hold one validation per epoch, after its last step. Omit it.",
        ),
        "sync_batchnorm": (
            trainer.sync_batchnorm and not torch.cuda.is_available(),
            "PyTorch's synchronised batch norm needs GPUs. Omit it.",
        ),
        "gradient_clip_algorithm": (
            trainer.gradient_clip_algorithm is not None and not trainer.gradient_clip_val,
            "without --trainer.gradient_clip_val, nothing is clipped. Add --trainer.gradient_clip_val 1.",
        ),
        "max_time": (
            isinstance(trainer.max_time, str) and not re.fullmatch(r"\d+(:\d\d){3}", trainer.max_time),
            "write DD:HH:MM:SS, such as 00:00:10:00 for ten minutes.",
        ),
        "profiler": (trainer.profiler == "xla", "it is for TPUs. Use simple, advanced or pytorch."),
        "min_epochs": (
            0 < (trainer.max_epochs or 0) < (trainer.min_epochs or 0),
            f"more than --trainer.max_epochs {trainer.max_epochs}. Use a larger --trainer.max_epochs.",
        ),
        "strategy": (
            re.search("spawn|fork|notebook", str(trainer.strategy)) is not None,
            "it starts processes that cannot continue the run. Use --trainer.strategy ddp.",
        ),
        "num_nodes": (
            trainer.num_nodes > 1 and not _is_launched(),
            "without a launcher the run would wait for other nodes. Start it on each with torchrun, or under SLURM.",
        ),
    }
    for name, (is_refused, reason) in refused.items():
        if is_refused:
            value = "true" if trainer[name] is True else trainer[name]
            raise UserError(f"--trainer.{name} {value}: {reason}")


def _is_launched() -> bool:
    """Whether torchrun, a scheduler or the user has set the addresses of the other processes."""
    environments = (LSFEnvironment, MPIEnvironment, SLURMEnvironment, TorchElasticEnvironment)
    return "MASTER_ADDR" in os.environ or any(environment.detect() for environment in environments)


def check_added(callbacks: Sequence[Any], plugins: Sequence[Any]) -> None:
    """Checks the user's callbacks and plugins for those that conflict with the project's own.

    Raises:
        UserError: one does.
    """
    reasons: dict[type, str] = {
        BatchSizeFinder: "it trains before the run starts, which the report would count. Set --data.batch_size.",
        LearningRateFinder: "it trains before the run starts, which the report would count. Set --model.max_lr.",
        StochasticWeightAveraging: "it replaces the learning rate schedule. Use --weight_average.decay 0.99.",
        CheckpointIO: "the project writes checkpoints atomically itself. Omit it.",
    }
    for option, added in (("callbacks", callbacks), ("plugins", plugins)):
        for part in added:
            for refused, reason in reasons.items():
                if isinstance(part, refused):
                    raise UserError(f"--trainer.{option} {type(part).__name__}: {reason}")
