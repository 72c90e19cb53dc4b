"""Runs that are killed again and again, and go on: how many kills they survive, and whether they end the same."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import processes
import torch

from mnist_lightning.checkpoints import load_checkpoint

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--data.batch_size", "128"),
    *("--weight_average.decay", "0.9", "--last_checkpoint.every_n_train_steps", "1"),
]  # a checkpoint after each of its 36 steps


@dataclass
class Kills:
    """What became of the kills."""

    num_kills: int = 0
    num_kills_inside_a_write: int = 0
    num_resumed_in_the_middle_of_an_epoch: int = 0
    num_runs: int = 0
    num_runs_that_ended_the_same: int = 0


def survive_kills(root: Path, num_kills: int, kills_per_run: int, seed: int) -> Kills:
    """Kills runs with SIGKILL at random moments, every other one while a checkpoint is being written.

    Raises:
        CheckpointError: a kill has left a `last.ckpt` that is not whole.
        RuntimeError: a run does not go on.
    """
    choose = random.Random(seed)
    whole = root / "whole"
    _finish(whole, [])
    kills = Kills()
    while kills.num_kills < num_kills:
        folder = root / f"run_{kills.num_runs}"
        args: list[str] = []
        for _ in range(min(kills_per_run, num_kills - kills.num_kills)):
            if not _kill(folder, args, choose, inside_a_write=kills.num_kills % 2 == 1):
                break
            kills.num_kills += 1
            kills.num_kills_inside_a_write += _partial(folder).exists()
            if _last(folder).exists():
                args = ["--ckpt_path", "last"]
                data = load_checkpoint(_last(folder))["DigitsDataModule"]
                kills.num_resumed_in_the_middle_of_an_epoch += data["step"] != 0
        _finish(folder, args)
        kills.num_runs += 1
        kills.num_runs_that_ended_the_same += _ends_the_same(_last(folder), _last(whole))
    return kills


def _command(folder: Path, args: list[str]) -> list[str]:
    return [*RUN, "--trainer.default_root_dir", str(folder), *args]


def _last(folder: Path) -> Path:
    """The last checkpoint of the newest run: one that was killed before its first is left, and another begun."""
    newest = max(folder.glob("offline/version_*"), default=folder, key=lambda run: run.stat().st_ctime_ns)
    return newest / "checkpoints" / "last.ckpt"


def _partial(folder: Path) -> Path:
    return _last(folder).with_name(".last.ckpt.partial")


def _time_written(folder: Path) -> int:
    """When the last checkpoint was written, in nanoseconds; 0 if there is none."""
    return _last(folder).stat().st_mtime_ns if _last(folder).exists() else 0


def _kill(folder: Path, args: list[str], choose: random.Random, inside_a_write: bool) -> bool:
    """Kills a run at a random moment, or in a write that begins after it; False if it has ended before."""
    for partial in folder.rglob(".*.partial"):
        partial.unlink()  # of the kill before
    written_before = _time_written(folder)
    process = processes.start(_command(folder, args), folder.with_suffix(".log"))
    if choose.random() < 0.8:  # else at any moment of its start too
        while process.is_alive() and _time_written(folder) == written_before:
            time.sleep(0.001)
    process.join(choose.uniform(0, 1))
    while inside_a_write and process.is_alive() and not _partial(folder).exists():
        pass
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def _finish(folder: Path, args: list[str]) -> None:
    process = processes.start(_command(folder, args), folder.with_suffix(".log"))
    process.join()
    if process.exitcode != os.EX_OK:
        raise RuntimeError(folder.with_suffix(".log").read_text())


def _ends_the_same(found: Path, wanted: Path) -> bool:
    states = [load_checkpoint(path) for path in (found, wanted)]
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=0)
    return bool(states[0]["lr_schedulers"] == states[1]["lr_schedulers"])
