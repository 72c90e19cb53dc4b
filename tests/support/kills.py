"""Kills and resumes runs, and compares them with an uninterrupted run."""

import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint

from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support import processes
from support.runs import read_report

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--data.batch_size", "128"),
    *("--weight_average.decay", "0.9", "--last_checkpoint.every_n_train_steps", "1"),
]  # a checkpoint after each of its 36 steps


@dataclass
class Kills:
    """Counts of kills and runs."""

    num_kills: int = 0
    num_kills_inside_a_write: int = 0
    num_resumed_in_the_middle_of_an_epoch: int = 0
    num_runs: int = 0
    num_runs_that_ended_the_same: int = 0
    compared: str = (
        "weights, averages, optimizer state and schedule of `last.ckpt` and `best.ckpt`, and the report's figures of "
        "each epoch and of the test that ends every other run"
    )


def survive_kills(root: Path, num_kills: int, kills_per_run: int, seed: int) -> Kills:
    """Kills runs with SIGKILL at random moments, every other time during the write of a checkpoint.

    Raises:
        CheckpointError: a kill left a damaged `last.ckpt`.
        RuntimeError: a run could not be resumed.
    """
    choose = random.Random(seed)
    kills = Kills()
    while kills.num_kills < num_kills:
        # Every other run is tested once, at its end; the others are validated after each epoch.
        validation = ("test", "none")[kills.num_runs % 2]
        folder, whole = root / f"run_{kills.num_runs}", root / f"whole_{validation}"
        settings = ["--data.validation", validation]
        if not whole.exists():
            _finish(whole, settings)
        args = settings
        for _ in range(min(kills_per_run, num_kills - kills.num_kills)):
            if not _kill(folder, args, choose, inside_a_write=kills.num_kills % 2 == 1):
                break
            kills.num_kills += 1
            kills.num_kills_inside_a_write += _is_being_written(folder)
            if _last(folder).exists():
                args = [*settings, "--ckpt_path", "last"]
                data = load_checkpoint(_last(folder))["DigitsDataModule"]
                kills.num_resumed_in_the_middle_of_an_epoch += data["step"] != 0
        _finish(folder, args)
        kills.num_runs += 1
        kills.num_runs_that_ended_the_same += _ends_the_same(_newest(folder), _newest(whole))
    return kills


def _command(folder: Path, args: list[str]) -> list[str]:
    return [*RUN, "--trainer.default_root_dir", str(folder), *args]


def _newest(folder: Path) -> Path:
    """The newest run: after a kill before the first checkpoint, a new run starts."""
    return max(folder.glob("offline/version_*"), default=folder, key=lambda run: run.stat().st_ctime_ns)


def _last(folder: Path) -> Path:
    return _newest(folder) / "checkpoints" / "last.ckpt"


def _is_being_written(folder: Path) -> bool:
    return any(_last(folder).parent.glob(".last.ckpt.*.partial"))


def _time_written(folder: Path) -> int:
    """Modification time of the last checkpoint, in nanoseconds; 0 if it does not exist."""
    return _last(folder).stat().st_mtime_ns if _last(folder).exists() else 0


def _kill(folder: Path, args: list[str], choose: random.Random, inside_a_write: bool) -> bool:
    """Kills a run at a random moment, or during the next write; returns False if the run ended before."""
    for partial in folder.rglob(".*.partial"):
        partial.unlink()  # from the previous kill
    written_before = _time_written(folder)
    process = processes.start(_command(folder, args), folder.with_suffix(".log"))
    if choose.random() < 0.8:  # otherwise possibly during its start
        processes.wait_until(lambda: not process.is_alive() or _time_written(folder) != written_before, 0.001)
    process.join(choose.uniform(0, 1))
    if inside_a_write:
        processes.wait_until(lambda: not process.is_alive() or _is_being_written(folder), 0)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _finish(folder: Path, args: list[str]) -> None:
    process = processes.start(_command(folder, args), folder.with_suffix(".log"))
    if processes.end(process) != os.EX_OK:
        raise RuntimeError(folder.with_suffix(".log").read_text())


def _ends_the_same(folder: Path, whole: Path) -> bool:
    try:
        assert_same_run(folder, whole)
    except AssertionError:
        return False
    return True


def assert_same_run(folder: Path, wanted: Path) -> None:
    """Compares the last and best checkpoints and the reports of two runs, including the figures of the test."""
    assert without_clock(read_report(folder)) == without_clock(read_report(wanted))
    checkpoints, wanted_checkpoints = folder / "checkpoints", wanted / "checkpoints"
    names = sorted(path.name for path in wanted_checkpoints.iterdir())
    assert sorted(path.name for path in checkpoints.glob("*.ckpt")) == names
    for name in names:
        assert_same_state(checkpoints / name, wanted_checkpoints / name)


def assert_same_state(path: Path, wanted_path: Path) -> None:
    """Compares weights, their averages, optimizer, schedule and position in training, bit for bit."""
    found, wanted = load_checkpoint(path), load_checkpoint(wanted_path)
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "DigitsDataModule"):
        torch.testing.assert_close(found.get(key), wanted.get(key), rtol=0, atol=0, msg=f"{path.name}: {key}")
    for key in ("lr_schedulers", "global_step", "epoch"):
        assert found[key] == wanted[key], f"{path.name}: {key}"


def without_clock(report: dict[str, Any]) -> dict[str, Any]:
    """A report without the fields that differ after resuming: seconds, command, and `resumed`."""
    epochs = [{name: value for name, value in row.items() if name != "seconds"} for row in report["epochs"]]
    rest = {key: value for key, value in report.items() if key not in ("wall_clock_seconds", "resumed", "command")}
    return rest | {"epochs": epochs}


class KillAt(Callback):
    """Kills this process with SIGKILL in a hook, before the callbacks that write the report and the checkpoints.

    Args:
        hook: Name of a hook; or of a file of the run, to kill the process just before that file is replaced.
        occurrence: The call of the hook at which to kill, from 1.
    """

    def __init__(self, hook: str, occurrence: int = 1) -> None:
        self.num_left = occurrence
        if "." in hook:
            replace = os.replace

            def kill_or_replace(source: Any, target: Any, **options: Any) -> None:
                if Path(target).name == hook:
                    self._count()
                replace(source, target, **options)

            os.replace = kill_or_replace  # type: ignore[assignment]
        else:
            setattr(self, hook, self._count)

    def _count(self, *args: Any) -> None:
        self.num_left -= 1
        if self.num_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class KillAfter(KillAt, Checkpoint):
    """The same, but after those callbacks: Lightning calls a `Checkpoint` last."""
