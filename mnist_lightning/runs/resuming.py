"""Going on with a run: from which checkpoint, in which folder, and with whose settings."""

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.connectors import checkpoint_connector

from mnist_lightning.errors import CheckpointError, SettingError
from mnist_lightning.runs.checkpoint import LoadedCheckpoint, checked_settings
from mnist_lightning.runs.checkpoint_file import CHECKPOINT_HINT
from mnist_lightning.runs.report import read_report
from mnist_lightning.runs.settings import Settings, check_limits

OF_THE_MACHINE = ("devices", "num_nodes", "plugins")  # which may be another when the run goes on


def newest_last_checkpoint(root: Path, run_name: str) -> Path:
    """The newest `last.ckpt` of the runs of this name; `*` stands for all names.

    Raises:
        SettingError: there is none.
    """
    found = [path for path in root.glob(f"{run_name}/version_*/checkpoints/last.ckpt") if path.is_file()]
    if not found:
        raise SettingError(
            f"--ckpt_path last: no run in {root / run_name} has a checkpoints/last.ckpt. "
            "Leave --ckpt_path away to start one, or name a checkpoint file."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def run_folder_of(checkpoint: Path) -> Path | None:
    """The folder of the run whose `last.ckpt` this is; None of any other file: a run that starts there is a new one."""
    folder = checkpoint.parent.parent
    is_last = checkpoint.name == "last.ckpt" and checkpoint.parent.name == "checkpoints"
    return folder if is_last and (folder / "config.yaml").exists() else None


def settings_of_run(trained: LoadedCheckpoint, path: Path, callbacks: Mapping[str, type[Callback]]) -> Settings:
    """The settings that the run of a checkpoint was started with.

    Args:
        trained: the checkpoint.
        path: its file.
        callbacks: those that have options, by the options' group.

    Raises:
        CheckpointError: the checkpoint does not hold them, nor all else that the run needs to go on.
    """
    content = trained.content
    match content.get("callbacks"):
        case {"RunReport": {"report": str(text), "seconds": (float(), float())}}:
            report = read_report(text)
        case _:
            raise CheckpointError(
                f"--ckpt_path {path} holds weights, but not what a run needs to go on. Use it with `test` or `predict`."
            )
    if report is None:
        raise _damaged(path, "its report is not whole")
    match report["settings"]:
        case {"model": {"schedule": str()}, "data": dict(), "trainer": dict()} as settings:
            pass
        case _:
            raise _damaged(path, "its report has no settings")
    for group, known in (("model", trained.model), ("data", trained.data)):
        for name, value in settings[group].items():
            if known.get(name, value) != value:
                raise _damaged(path, f"{group}.{name} is {known[name]!r}, but {value!r} in its report")
    of_the_machine = {name: value for name, value in settings["trainer"].items() if name in OF_THE_MACHINE}
    of_the_run = {name: value for name, value in settings["trainer"].items() if name not in OF_THE_MACHINE}
    trainer = checked_settings(path, "trainer", Trainer, of_the_run)
    of_callbacks = {
        group: checked_settings(path, group, cls, settings.get(group, {})) for group, cls in callbacks.items()
    }
    try:
        check_limits(trainer)
    except SettingError as error:
        raise _damaged(path, str(error)) from None
    match content:
        case {
            "global_step": int(),
            "loops": {"fit_loop": {"epoch_progress": dict(), "epoch_loop.batch_progress": dict()}},
            "DigitsDataModule": {"epoch": int(), "step": int()},
        } if _is_count([content[name] for name in ("global_step", "loops", "DigitsDataModule")]):
            pass
        case _:
            raise _damaged(path, "it does not say where in the run it was written")
    return {
        **{group: settings[group] for group in ("model", "data")},
        **of_callbacks,
        "trainer": trainer | of_the_machine,
    }


def _is_count(value: Any) -> bool:
    """Whether it is a number of things, or a list or dictionary of such."""
    if isinstance(value, list | dict):
        return all(map(_is_count, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and value >= 0


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"--ckpt_path {path}: a run cannot go on from it, because {what}. {CHECKPOINT_HINT}")


def is_raised_while_restoring(error: Exception) -> bool:
    """Whether the framework raised this while it put a checkpoint's content in its place; it has no error for that."""
    return any(
        frame.f_code.co_filename == checkpoint_connector.__file__
        and ("restore" in frame.f_code.co_name or frame.f_code.co_name == "resume_start")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def take_over(config: Any, asked: Settings, started: Settings) -> list[str]:
    """Puts the settings that a run was started with into the config of the `fit` that goes on with it.

    What decides when to stop is followed as it is asked now; but the end of a one-cycle schedule is where it was.

    Args:
        config: of `fit`, as parsed; is changed.
        asked: its settings, as a report has them.
        started: those of the run.

    Returns:
        A line for each setting that differs.
    """
    lines = []
    for group, values in started.items():
        for name, value in values.items():
            if name not in asked.get(group, {}) or asked[group][name] == value:
                continue
            option = "--seed_everything" if (group, name) == ("data", "seed") else f"--{group}.{name}"
            difference = f"{option} {_text(asked[group][name])}: the run was started with {_text(value)}"
            if _is_followed(group, name, started):
                lines.append(f"{difference}, and goes on with what is asked now")
            else:
                lines.append(f"{difference}, and goes on with that")
                config[group][name] = value
    return lines


def why_nothing_is_left(report: dict[str, Any], asked: Settings) -> str:
    """Why a run that was asked to go on had nothing to train, and what to do instead.

    Args:
        report: of the run.
        asked: the settings of the command that asked.
    """
    num_epochs, max_epochs = len(report["epochs"]), asked["trainer"]["max_epochs"]
    if report["status"].startswith("stopped") and num_epochs != report["settings"]["trainer"]["max_epochs"]:
        return f"nothing is left to train: {report['status']}. Add --early_stopping.stopping_threshold null to go on."
    if report["settings"]["model"]["schedule"] == "constant":
        return "nothing is left to train. To go on, add a larger --trainer.max_epochs or --trainer.max_steps."
    longer = f"--trainer.max_epochs {max_epochs}" if (max_epochs or 0) > num_epochs else "a larger --trainer.max_epochs"
    return (
        f"nothing is left to train: the one-cycle learning rate ended at the last step, in epoch {num_epochs}, and "
        f"cannot be extended. For more epochs start a new run: the same command without --ckpt_path, with {longer}."
    )


def _is_followed(group: str, name: str, started: Settings) -> bool:
    if group == "early_stopping" or name in OF_THE_MACHINE:
        return True
    return name in ("max_epochs", "max_steps") and started["model"]["schedule"] == "constant"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)
