"""Resuming a run: from which checkpoint, in which folder, and with which settings."""

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.connectors import checkpoint_connector
from torch import Tensor

from mnist_lightning.errors import CheckpointError, UserError
from mnist_lightning.files import from_json, one_line
from mnist_lightning.runs.checkpoint import LoadedCheckpoint, checked_settings
from mnist_lightning.runs.checkpoint_file import CHECKPOINT_HINT
from mnist_lightning.runs.record import Record
from mnist_lightning.runs.settings import Settings, check_limits, value_text

MACHINE_SETTINGS = ("devices", "num_nodes", "plugins")  # may differ when a run is resumed elsewhere


def newest_last_checkpoint(root: Path, run_name: str) -> Path:
    """The newest `last.ckpt` of the runs of this name; `*` matches every name.

    Raises:
        UserError: no run has one.
    """
    found = [path for path in root.glob(f"{run_name}/version_*/checkpoints/last.ckpt") if path.is_file()]
    if not found:
        raise UserError(
            f"--ckpt_path last: no run in {root / run_name} has a checkpoints/last.ckpt. "
            "Omit --ckpt_path to start a run, or name a checkpoint file."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def run_folder_of(checkpoint: Path) -> Path | None:
    """The folder of the run whose `last.ckpt` this is; None for any other file, from which a new run starts."""
    folder = checkpoint.parent.parent
    is_last = checkpoint.name == "last.ckpt" and checkpoint.parent.name == "checkpoints"
    return folder if is_last and (folder / "config.yaml").exists() else None


def settings_of_run(trained: LoadedCheckpoint, path: Path, callbacks: Mapping[str, type[Callback]]) -> Settings:
    """The settings with which the run of a checkpoint was started.

    Args:
        trained: the checkpoint.
        path: its file.
        callbacks: the classes of the callbacks with options, by the options' group.

    Raises:
        CheckpointError: the checkpoint lacks them, or something else that resuming needs.
    """
    content = trained.content
    match content.get("callbacks"):
        case {"RunRecord": {"report": str(text), "seconds": (float(), float())}}:
            pass
        case _:
            raise CheckpointError(
                f"--ckpt_path {path} holds weights, but not what a run needs to resume. "
                "Use it with `test` or `predict`."
            )
    try:
        report = from_json(Record, text)
    except ValueError as error:
        raise _damaged(path, f"its report is incomplete: {one_line(str(error))}") from None
    match report.settings:
        case {"model": {"schedule": str()}, "data": dict(), "trainer": dict()} as settings:
            pass
        case _:
            raise _damaged(path, "its report has no settings")
    for group, known in (("model", trained.model), ("data", trained.data)):
        for name, value in settings[group].items():
            if json.loads(json.dumps(known.get(name, value))) != value:  # a report has lists for tuples
                raise _damaged(path, f"{group}.{name} is {known[name]!r}, but {value!r} in its report")
    of_machine = {name: value for name, value in settings["trainer"].items() if name in MACHINE_SETTINGS}
    of_run = {name: value for name, value in settings["trainer"].items() if name not in MACHINE_SETTINGS}
    trainer = checked_settings(path, "trainer", Trainer, of_run)
    of_callbacks = {
        group: checked_settings(path, group, cls, settings.get(group, {})) for group, cls in callbacks.items()
    }
    try:
        check_limits(trainer)
    except UserError as error:
        raise _damaged(path, str(error)) from None
    match content:
        case {
            "epoch": int(),
            "global_step": int(),
            "loops": {"fit_loop": {"epoch_progress": dict(), "epoch_loop.batch_progress": dict()}},
            "DigitsDataModule": {"epoch": int() as epoch, "step": int() as step, **more},
        } if _is_count([content["epoch"], content["global_step"], content["loops"], epoch, step]) and _are_losses(
            more, settings
        ):
            pass
        case _:
            raise _damaged(path, "it does not state at which step it was written")
    return {
        **{group: settings[group] for group in ("model", "data")},
        **of_callbacks,
        "trainer": trainer | of_machine,
    }


def _is_count(value: Any) -> bool:
    """Whether it is a whole number from 0, or a list or dictionary of such."""
    if isinstance(value, list | dict):
        return all(map(_is_count, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and value >= 0


def _are_losses(values: dict[Any, Any], settings: Settings) -> bool:
    """Whether these are the data module's losses of the first epoch, or nothing if the run does not need them."""
    if settings["data"].get("hard_fraction", 1) == 1:
        return not values
    return values.keys() == {"losses"} and isinstance(values["losses"], Tensor) and values["losses"].ndim == 1


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"--ckpt_path {path}: a run cannot resume from it, because {what}. {CHECKPOINT_HINT}")


def is_raised_while_restoring(error: Exception) -> bool:
    """Whether the framework raised this while it restored a checkpoint; it has no error type for that."""
    return any(
        frame.f_code.co_filename == checkpoint_connector.__file__
        and ("restore" in frame.f_code.co_name or frame.f_code.co_name == "resume_start")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def restore_settings(config: Any, requested: Settings, started: Settings) -> list[str]:
    """Replaces settings in the config of a resumed `fit` with those that the run was started with.

    Settings that end a run keep their new values, except for the end of a one-cycle schedule.

    Args:
        config: of `fit`, as parsed; is changed in place.
        requested: its settings, in the form of a report.
        started: the settings that the run was started with.

    Returns:
        A line for each setting that differs.
    """
    lines = []
    for group, values in started.items():
        for name, value in values.items():
            if name not in requested.get(group, {}) or requested[group][name] == value:
                continue
            option = "--seed_everything" if (group, name) == ("data", "seed") else f"--{group}.{name}"
            difference = f"{option} {value_text(requested[group][name])}: the run was started with {value_text(value)}"
            if _uses_new_value(group, name, started):
                lines.append(f"{difference}; using the new value")
            else:
                lines.append(f"{difference}, which it keeps")
                config[group][name] = value
                if (group, name) == ("data", "seed"):
                    config.seed_everything = value  # from which config.yaml gets it
    return lines


def why_nothing_is_left(report: Record, requested: Settings) -> str:
    """Why a resumed run had nothing left to train, and what to do instead.

    Args:
        report: of the run.
        requested: the settings of the command.
    """
    num_epochs, max_epochs = len(report.epochs), requested["trainer"]["max_epochs"]
    if report.status.startswith("stopped") and num_epochs != report.settings["trainer"]["max_epochs"]:
        return f"nothing is left to train: {report.status}. To train on, add --early_stopping.stopping_threshold null."
    if report.settings["model"]["schedule"] == "constant":
        return "nothing is left to train. To train on, add a larger --trainer.max_epochs or --trainer.max_steps."
    if started_steps := _ended_by_steps(report):
        return (
            f"nothing is left to train: the one-cycle learning rate ended at step {started_steps}, and cannot be "
            "extended. For more steps start a new run: the same command without --ckpt_path."
        )
    longer = f"--trainer.max_epochs {max_epochs}" if (max_epochs or 0) > num_epochs else "a larger --trainer.max_epochs"
    return (
        f"nothing is left to train: the one-cycle learning rate ended at the last step, in epoch {num_epochs}, and "
        f"cannot be extended. For more epochs start a new run: the same command without --ckpt_path, with {longer}."
    )


def _ended_by_steps(report: Record) -> int | None:
    """--trainer.max_steps of a run that ended there; None if its epochs ended it."""
    max_steps: int = report.settings["trainer"]["max_steps"]
    return max_steps if report.epochs and report.epochs[-1].steps == max_steps else None


def _uses_new_value(group: str, name: str, started: Settings) -> bool:
    if group == "early_stopping" or name in MACHINE_SETTINGS:
        return True
    return name in ("max_epochs", "max_steps") and started["model"]["schedule"] == "constant"
