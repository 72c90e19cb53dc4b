"""Going on with a run: from which checkpoint, in which folder, and with whose settings."""

import json
from pathlib import Path
from typing import Any

from mnist_lightning.errors import CheckpointError, SettingError

Settings = dict[str, dict[str, Any]]  # by group and name, as in a report


def newest_last_checkpoint(root: Path, run_name: str) -> Path:
    """The newest `last.ckpt` of the runs of this name; `*` stands for all names.

    Raises:
        SettingError: there is none.
    """
    found = sorted(root.glob(f"{run_name}/version_*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SettingError(
            f"--ckpt_path last: no run in {root / run_name} has a checkpoints/last.ckpt. "
            "Leave --ckpt_path away to start one, or name a checkpoint file."
        )
    return found[-1]


def run_folder_of(checkpoint: Path) -> Path | None:
    """The folder of the run whose `last.ckpt` this is; None of any other file: a run that starts there is a new one."""
    folder = checkpoint.parent.parent
    is_last = checkpoint.name == "last.ckpt" and checkpoint.parent.name == "checkpoints"
    return folder if is_last and (folder / "config.yaml").exists() else None


def settings_of_run(checkpoint: dict[str, Any], path: Path) -> Settings:
    """The settings that the run of a checkpoint was started with.

    Raises:
        CheckpointError: the checkpoint does not hold them.
    """
    try:
        settings: Settings = json.loads(checkpoint["callbacks"]["RunReport"]["report"])["settings"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"--ckpt_path {path} holds weights, but not what a run needs to go on. Use it with `test` or `predict`."
        ) from None
    return settings


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


def _is_followed(group: str, name: str, started: Settings) -> bool:
    if group == "early_stopping" or name in ("devices", "num_nodes", "plugins"):
        return True
    return name in ("max_epochs", "max_steps") and started["model"]["schedule"] == "constant"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
