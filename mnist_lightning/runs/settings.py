"""What is said of a run's settings: in its report, and in its checkpoint."""

import json
import re
import shlex
from typing import Any

from mnist_lightning.errors import PROGRAM, SettingError

Settings = dict[str, dict[str, Any]]  # by group and name, as in a report

# What decides how a network was built and how its images are made; not where they lie, nor how fast they are served.
SETTINGS_OF_A_CHECKPOINT = frozenset(
    [
        *("model.network", "model.dropout", "model.width", "model.batch_norm", "model.head", "model.channels_last"),
        "model.test_time_augmentation",
        *("data.dataset", "data.validation", "data.num_holdout", "data.split_seed", "data.eval_batch_size"),
    ]
)


_SETTINGS_OF_A_TRAINER = (
    *("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "precision", "devices", "num_nodes"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches", "check_val_every_n_epoch"),
)


def report_settings(config: Any) -> Settings:
    """The settings that decide a run's result; none that holds a path or only decides how fast it comes."""
    settings: Settings = {
        group: config[group].as_dict() for group in ("model", "data", "early_stopping", "weight_average")
    }
    for name in ("data_dir", "eval_batch_size", "num_workers", "on_device"):
        del settings["data"][name]
    trainer = {name: config.trainer[name] for name in _SETTINGS_OF_A_TRAINER}
    plugins = [plugin.class_path for plugin in config.trainer.plugins or []]
    settings["trainer"] = trainer | {"plugins": plugins}
    plain: Settings = json.loads(json.dumps(settings))
    return plain


def command_text(args: Any) -> str:
    """The command for the report, with the last part alone of every path outside the project."""
    if not isinstance(args, list):
        return f"{PROGRAM} (started from Python)"
    shown = [re.sub(r"(^|=)(?:/|~|\.\.)\S*/", r"\1", arg) for arg in args]
    return shlex.join([*PROGRAM.split(), *shown])


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
