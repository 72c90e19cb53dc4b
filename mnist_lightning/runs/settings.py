"""A run's settings: as its record and its checkpoint hold them, and which of them work together."""

import inspect
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.network import network_class
from mnist_lightning.runs.checkpoint import KEPT

Settings = dict[str, dict[str, Any]]  # by group and name

_SETTINGS_OF_A_TRAINER = (
    "max_epochs max_steps accumulate_grad_batches gradient_clip_val gradient_clip_algorithm precision devices "
    "num_nodes limit_train_batches limit_val_batches limit_test_batches check_val_every_n_epoch"
)
MOVEMENTS = ("rotation_degrees", "translation_percent", "scale_percent", "shear_degrees")
# Settings that may differ when a run is resumed.
FREE = ("early_stopping.stopping_threshold", "trainer.devices", "trainer.num_nodes", "trainer.plugins")


def run_settings(config: Any) -> Settings:
    """The settings that determine a run's result; no paths, nor what only changes the speed."""
    groups = ("model", "data", "early_stopping")
    settings: Settings = {group: config[group].as_dict() for group in groups}
    for name in ("data_dir", "eval_batch_size", "on_device"):
        del settings["data"][name]
    plugins = config.trainer.plugins or []
    settings["trainer"] = {name: config.trainer[name] for name in _SETTINGS_OF_A_TRAINER.split()}
    settings["trainer"]["plugins"] = [each.class_path for each in (plugins if isinstance(plugins, list) else [plugins])]
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return]


def command_text(args: Sequence[str]) -> str:
    """The command for the record, with paths outside of the project shortened to their last part."""
    shown = [re.sub(r"(^|=)(?:/|~|\.\.|[A-Za-z]:).*[/\\]", r"\1", arg) for arg in args]
    return shlex.join([*PROGRAM.split(), *shown])


def value_text(value: Any) -> str:
    """A setting's value as it is typed on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def check_fit(config: Any) -> None:
    """Checks the settings of `fit` before any work: config, end, and that each has an effect."""
    if not config.config:
        raise UserError(f"fit needs a config: `{PROGRAM} fit --config configs/optimized.yaml`.")
    if config.trainer.max_epochs is None and config.trainer.max_steps == -1:
        raise UserError(
            "--trainer.max_epochs and --trainer.max_steps are not set. "
            "Put configs/optimized.yaml before an overlay such as configs/cpu.yaml, or add --trainer.max_epochs 15."
        )
    owners = {"model": DigitClassifier, "data": DigitsDataModule}
    for option, reason in _without_effect(config).items():
        group, name = option.split(".")
        default = inspect.signature(owners[group]).parameters[name].default if group in owners else None
        value = config[group][name]
        if json.dumps(value) != json.dumps(default):
            raise UserError(
                f"--{option} {value_text(value)} has no effect {reason}. Omit it, or set it to {value_text(default)}."
            )


def _without_effect(config: Any) -> dict[str, str]:
    """The options that have no effect with the other settings, and why."""
    model, data, trainer = config.model, config.data, config.trainer
    accepted = inspect.signature(network_class(model.network)).parameters
    ignored = [f"model.{name}" for name in ("dropout", "channels", "batch_norm", "head") if name not in accepted]
    is_sgd, validation = model.optimizer == "sgd", f"with --data.validation {data.validation}"
    moves = any(data[name] for name in MOVEMENTS)
    rules = [
        (True, f"with --model.network {model.network}", " ".join(ignored)),
        (is_sgd, "with --model.optimizer sgd", "model.muon_lr model.muon_momentum"),
        (not is_sgd, "with --model.optimizer muon, which always uses it", "model.nesterov"),
        (model.momentum == 0, "with --model.momentum 0", "model.nesterov"),
        (model.schedule == "constant", "with --model.schedule constant", "model.pct_start"),
        (is_sgd and model.schedule == "one_cycle", "with --model.schedule one_cycle, which sets it", "model.momentum"),
        # Of a folder without test images, it makes the split.
        (data.validation != "holdout" and data.dataset != "folder", validation, "data.num_holdout data.split_seed"),
        (data.validation == "none", validation, "early_stopping.stopping_threshold"),
        (trainer.limit_val_batches == 0, "with --trainer.limit_val_batches 0", "early_stopping.stopping_threshold"),
        (not moves, "without augmentation", "data.interpolation"),
        (not trainer.gradient_clip_val, "without --trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"),
    ]
    return {option: reason for applies, reason, options in rules if applies for option in options.split()}


def check_resumed(requested: Settings, started: Settings, ckpt_path: Path) -> None:
    """Checks that a command that resumes a run would not change its result."""
    more = ("trainer.max_epochs", "trainer.max_steps") if started["model"]["schedule"] == "constant" else ()
    for group, values in started.items():
        for name, value in values.items():
            if f"{group}.{name}" not in (*FREE, *more):
                option = "seed_everything" if (group, name) == ("data", "seed") else f"{group}.{name}"
                _check_equal(option, requested[group][name], value, ckpt_path)


def check_network(requested: Any, trained: dict[str, Any], ckpt_path: Path) -> None:
    """Checks that a command that evaluates a checkpoint describes no other network than the trained one."""
    for name in KEPT["model"].split():
        if name in trained and name not in ("channels_last", "test_time_augmentation"):
            _check_equal(f"model.{name}", requested[name], trained[name], ckpt_path)


def _check_equal(option: str, new: Any, old: Any, ckpt_path: Path) -> None:
    if json.dumps(new) != json.dumps(old):  # also equal: a tuple and the list that a file holds
        raise UserError(
            f"--{option} {value_text(new)} with --ckpt_path {ckpt_path}: the run was started with {value_text(old)}. "
            "Omit it, here and in a --config; without --ckpt_path, `fit` starts a new run."
        )


def check_trainer(trainer: Any) -> None:
    """Checks for options of Lightning's Trainer that would mislead or hang in this project."""
    spawns = re.search("spawn|fork|notebook", str(trainer.strategy))
    splits = isinstance(trainer.val_check_interval, int) or trainer.val_check_interval not in (None, 1.0)
    for name, is_refused, reason in (
        ("overfit_batches", trainer.overfit_batches != 0, "use --trainer.limit_train_batches."),
        ("val_check_interval", splits, "the record holds one validation per epoch. Omit it."),
        ("strategy", spawns, "it starts processes that cannot continue the run. Use --trainer.strategy ddp."),
    ):
        if is_refused:
            raise UserError(f"--trainer.{name} {value_text(trainer[name])}: {reason}")


def is_one_process(trainer: Any) -> bool:
    """Whether these options of the Trainer ask for a single process."""
    num_devices = len(trainer.devices) if isinstance(trainer.devices, list) else trainer.devices
    if str(num_devices) in ("auto", "-1"):
        has_accelerator = trainer.accelerator != "cpu" and torch.accelerator.is_available()
        num_devices = torch.accelerator.device_count() if has_accelerator else 1
    return str(num_devices) == "1" and trainer.num_nodes == 1
