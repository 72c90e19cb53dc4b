"""A run's settings as its report and its checkpoint hold them."""

import json
import re
import shlex
from typing import Any

from mnist_lightning.errors import PROGRAM, UserError

Settings = dict[str, dict[str, Any]]  # by group and name

# The settings that determine the network and its images, with those that --trainer.limit_test_batches leaves; not
# paths, nor what only changes the speed.
SETTINGS_OF_A_CHECKPOINT = frozenset(
    [
        *("model.network", "model.dropout", "model.channels", "model.batch_norm", "model.head", "model.channels_last"),
        *("model.test_time_augmentation", "model.class_names", "model.pixel_mean", "model.pixel_std"),
        *("data.dataset", "data.validation", "data.num_holdout", "data.split_seed", "data.eval_batch_size"),
    ]
)


_SETTINGS_OF_A_TRAINER = (
    *("max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    *("precision", "devices", "num_nodes"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches", "check_val_every_n_epoch"),
)


def report_settings(config: Any) -> Settings:
    """The settings that determine a run's result; no paths, nor what only changes the speed."""
    groups = ("model", "data", "early_stopping", "weight_average", "best_checkpoint")
    settings: Settings = {group: config[group].as_dict() for group in groups}
    for name in ("data_dir", "eval_batch_size", "num_workers", "on_device"):
        del settings["data"][name]
    trainer = {name: config.trainer[name] for name in _SETTINGS_OF_A_TRAINER}
    plugins = [plugin.class_path for plugin in config.trainer.plugins or []]
    settings["trainer"] = trainer | {"plugins": plugins}
    plain: Settings = json.loads(json.dumps(settings))
    return plain


def command_text(args: Any) -> str:
    """The command for the report, with paths outside of the project shortened to their last part."""
    if not isinstance(args, list):
        return f"{PROGRAM} (started from Python)"
    shown = [re.sub(r"(^|=)(?:/|~|\.\.).*/", r"\1", arg) for arg in args]
    return shlex.join([*PROGRAM.split(), *shown])


def value_text(value: Any) -> str:
    """A setting's value as it is typed on the command line."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def check_limits(trainer: Any) -> None:
    """Checks the limits on batches.

    Raises:
        UserError: one is neither a number of batches nor a fraction.
    """
    for stage in ("train", "val", "test", "predict"):
        value = trainer.get(name := f"limit_{stage}_batches")
        if value is None or (isinstance(value, int) and value >= 0):
            continue
        if not ((isinstance(value, float) and 0 < value <= 1) or value == 0):
            raise UserError(f"--trainer.{name} {value}: use a number of batches, or a fraction such as 0.5.")
