"""Runs that are killed in a hook of the training loop and resumed end like an uninterrupted run."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support import processes
from support.kills import assert_same_run
from support.runs import PROJECT, contents, read_report

SHORT = [
    *("--trainer.max_epochs", "3", "--trainer.limit_train_batches", "3", "--weight_average.decay", "0.5"),
    *("--trainer.logger", "false"),
]
STEPS = ["--last_checkpoint.every_n_train_steps", "1"]  # a checkpoint after each of the 9 steps
RUNS = {"validated": [], "tested": ["--data.validation", "none"]}


def fit_args(root: Path, kind: str) -> list[str]:
    """The command line of a run, which validates after each epoch, or tests once at its end."""
    options = [*SHORT, *STEPS, *RUNS[kind], "--trainer.default_root_dir", str(root)]
    return ["fit", "--config", "configs/offline.yaml", *options]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {kind: tmp_path_factory.mktemp(kind) for kind in RUNS}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        for kind, root in roots.items():
            main(fit_args(root, kind))
    return {kind: root / "offline" / "version_0" for kind, root in roots.items()}


# The hook, the number of its call, and whether the kill comes before or after the callbacks that write checkpoints.
PLACES = {
    "validated": [
        ("on_train_epoch_start", 2, "before"),
        ("on_train_batch_end", 6, "before"),  # an epoch's last step
        ("on_train_batch_end", 6, "after"),
        ("on_validation_start", 3, "before"),  # the last epoch's
        ("on_validation_end", 1, "before"),
        ("on_train_epoch_end", 2, "before"),
        ("on_train_epoch_end", 2, "after"),
        ("on_train_epoch_end", 3, "after"),
        ("on_train_end", 1, "before"),
        ("on_fit_end", 1, "before"),
        ("report.json", 2, "before"),
        ("report.md", 2, "before"),
        ("best.ckpt", 1, "before"),
        ("last.ckpt", 5, "before"),
    ],
    "tested": [
        ("on_train_batch_end", 9, "after"),  # the run's last step
        ("on_train_epoch_end", 3, "before"),
        ("on_train_end", 1, "before"),
        ("on_test_start", 1, "before"),
        ("on_test_end", 1, "after"),
        ("report.json", 4, "before"),  # the write with the test's figures
    ],
}
FAST = {("validated", "on_validation_start")}


@pytest.mark.parametrize(
    ("kind", "hook", "occurrence", "order"),
    [
        pytest.param(kind, *place, marks=[] if (kind, place[0]) in FAST else pytest.mark.slow)
        for kind, places in PLACES.items()
        for place in places
    ],
)
def test_a_killed_run_ends_like_an_uninterrupted_one(
    kind: str, hook: str, occurrence: int, order: str, whole_runs: dict[str, Path], tmp_path: Path, in_project: None
) -> None:
    log = tmp_path / "log"
    args = fit_args(tmp_path / "runs", kind)
    kill = "KillAt" if order == "before" else "KillAfter"
    options = ["--trainer.callbacks.hook", hook, "--trainer.callbacks.occurrence", str(occurrence)]
    process = processes.start([*args, f"--trainer.callbacks+=support.kills.{kill}", *options], log)
    assert processes.end(process) == -signal.SIGKILL, log.read_text()
    process = processes.start([*args, "--ckpt_path", "last"], log)
    assert processes.end(process) == 0, log.read_text()
    assert_same_run(tmp_path / "runs" / "offline" / "version_0", whole_runs[kind])


def test_a_resumed_finished_run_tests_the_average_again(
    whole_runs: dict[str, Path], tmp_path: Path, in_project: None
) -> None:
    run = tmp_path / "offline" / "version_0"
    shutil.copytree(whole_runs["tested"], run)
    before = read_report(run)
    main([*fit_args(tmp_path, "tested"), "--ckpt_path", "last"])
    assert read_report(run)["test"] == before["test"]
    state = load_checkpoint(run / "checkpoints" / "last.ckpt")
    assert any(
        not torch.equal(value, state["state_dict"][name]) for name, value in state["current_model_state"].items()
    )


class SlowSteps(Callback):
    """Slows training down to one or two of an epoch's three steps per second."""

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        time.sleep(0.7)


def test_a_run_that_reached_max_time_resumes_within_the_epoch(
    whole_runs: dict[str, Path], tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    args = fit_args(tmp_path / "runs", "validated")
    main([*args, "--trainer.max_time", "00:00:00:01", "--trainer.callbacks+=test_kills_in_hooks.SlowSteps"])
    folder = tmp_path / "runs" / "offline" / "version_0"
    report = read_report(folder)
    (row,) = report["epochs"]
    assert row["batches"] == row["steps"] < row["batches_per_epoch"] == 3
    assert not (folder / "checkpoints" / "best.ckpt").exists()  # of a part of an epoch
    assert report["status"] == f"ended by --trainer.max_time after step {row['steps']}"
    assert report["requirements"][2]["value"] == f"{round(row['batches'] / 3, 2):g}"  # epochs
    out = capfd.readouterr().out
    assert f"epoch  1/3 ({row['batches']} of 3 batches)  training" in out
    assert f"digits): {row['batches']} of 3 batches in" in out
    before = contents(folder)
    with pytest.raises(SystemExit, match="2"):
        main([*args, "--trainer.max_time", "00:00:00:01", "--ckpt_path", "last"])
    assert "--trainer.max_time is used up" in capfd.readouterr().err
    assert contents(folder) == before
    main([*args, "--ckpt_path", "last"])
    assert_same_run(folder, whole_runs["validated"])
