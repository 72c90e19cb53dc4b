"""An interrupted and resumed run ends like an uninterrupted one: bit for bit, including the report."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typing_extensions import override

from mnist_lightning.main import main
from mnist_lightning.runs.resuming import newest_last_checkpoint
from support.kills import assert_same_run, assert_same_state
from support.runs import last_checkpoint, read_report

RUN = [
    *("--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--data.batch_size", "256"),
    *("--weight_average.decay", "0.9", "--trainer.logger", "false"),
]  # 3 epochs of 6 steps, with augmentation and dropout
DASHBOARDS = ("--trainer.logger", "true", "--trainer.max_epochs", "2")


class SignalAt(Callback):
    """Sends this process a signal during the first batch of an optimizer step."""

    def __init__(self, step: int, signal_number: int = int(signal.SIGTERM)) -> None:
        self.step = step
        self.signal_number = signal_number
        self.is_sent = False

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.step and not self.is_sent:
            self.is_sent = True
            os.kill(os.getpid(), self.signal_number)


def run(root: Path, *args: str) -> Path:
    main(["fit", *RUN, "--trainer.default_root_dir", str(root), *args])
    return max(root.glob("offline/version_*"))


def interrupted_run(root: Path, step: int, *args: str) -> Path:
    with pytest.raises(SystemExit) as ended:
        run(root, "--trainer.callbacks+=test_resume.SignalAt", "--trainer.callbacks.step", str(step), *args)
    assert ended.value.code == 128 + signal.SIGTERM
    return max(root.glob("offline/version_*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parent.parent)
        return run(tmp_path_factory.mktemp("whole"))


def steps_per_epoch(whole: Path) -> int:
    steps: int = read_report(whole)["epochs"][0]["steps"]
    return steps


@pytest.mark.parametrize(
    ("place", "workers"),
    [
        ("first epoch", "2"),
        ("end of an epoch", "0"),
        ("last epoch", "0"),
        pytest.param("first epoch", "0", marks=pytest.mark.slow),
        pytest.param("end of an epoch", "2", marks=pytest.mark.slow),
        pytest.param("last epoch", "2", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    place: str, workers: str, whole: Path, tmp_path: Path, in_project: None
) -> None:
    steps = steps_per_epoch(whole)
    step = {"first epoch": 3, "end of an epoch": steps, "last epoch": 2 * steps + 5}[place]
    folder = interrupted_run(tmp_path, step, "--data.num_workers", workers)
    assert last_checkpoint(folder)["global_step"] == step
    report = read_report(folder) if (folder / "report.json").exists() else {"epochs": []}
    assert len(report["epochs"]) == step // steps
    assert run(tmp_path, "--ckpt_path", "last", "--data.num_workers", workers) == folder
    assert_same_run(folder, whole)
    assert read_report(folder)["resumed"][0]["after_steps"] == step


@pytest.mark.parametrize("step", [3, 6, 9])  # of 18
def test_a_run_that_prefers_hard_images_resumes_exactly(step: int, tmp_path: Path, in_project: None) -> None:
    hard = ("--data.hard_fraction", "0.5")
    whole = run(tmp_path / "whole", *hard)
    folder = interrupted_run(tmp_path, step, *hard)
    assert run(tmp_path, *hard, "--ckpt_path", "last") == folder
    assert_same_run(folder, whole)
    losses = [last_checkpoint(each)["DigitsDataModule"]["losses"] for each in (folder, whole)]
    assert losses[0].equal(losses[1])
    assert losses[0].min() > 0


@pytest.mark.parametrize("step", [3, 6, 9])  # of 14; an epoch has 6
def test_a_run_that_ends_within_an_epoch_resumes_exactly(step: int, tmp_path: Path, in_project: None) -> None:
    limit = ("--trainer.max_steps", "14")
    whole = run(tmp_path / "whole", *limit)
    assert [row["steps"] for row in read_report(whole)["epochs"]] == [6, 12, 14]
    folder = interrupted_run(tmp_path, step, *limit)
    assert run(tmp_path, *limit, "--ckpt_path", "last") == folder
    assert_same_run(folder, whole)


def test_a_run_that_ended_within_an_epoch_resumes_exactly_with_more_steps(tmp_path: Path, in_project: None) -> None:
    """It starts a new epoch: the one that it ended within is over."""
    constant = ("--model.schedule", "constant", "--trainer.max_epochs", "9")
    more = (*constant, "--trainer.max_steps", "22", "--ckpt_path", "last")
    for root in (tmp_path / "whole", tmp_path):
        run(root, *constant, "--trainer.max_steps", "8")
    whole = run(tmp_path / "whole", *more)
    assert [row["steps"] for row in read_report(whole)["epochs"]] == [6, 8, 14, 20, 22]
    folder = interrupted_run(tmp_path, 17, *more)
    assert run(tmp_path, *more) == folder
    assert_same_run(folder, whole)


def test_a_run_that_accumulates_gradients_resumes_exactly(tmp_path: Path, in_project: None) -> None:
    accumulated = ("--data.batch_size", "128", "--trainer.accumulate_grad_batches", "3")  # 12 batches, 4 steps
    whole = run(tmp_path / "whole", *accumulated)
    folder = interrupted_run(tmp_path, 2, *accumulated)
    assert run(tmp_path, *accumulated, "--ckpt_path", "last") == folder
    assert_same_run(folder, whole)


def test_a_checkpoint_is_due_at_an_epochs_end_that_accumulation_does_not_divide(
    tmp_path: Path, in_project: None
) -> None:
    every_third = ("--last_checkpoint.every_n_epochs", "0", "--last_checkpoint.every_n_train_steps", "3")
    folder = run(tmp_path, "--data.batch_size", "128", "--trainer.accumulate_grad_batches", "5", *every_third)
    assert last_checkpoint(folder)["global_step"] == 9  # three epochs of 12 batches


def test_a_signal_after_the_last_step_does_not_interrupt(tmp_path: Path, in_project: None) -> None:
    signalled = ("--trainer.callbacks+=test_resume.SignalAt", "--trainer.callbacks.step", "8")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    folder = run(tmp_path, "--trainer.max_steps", "8", *signalled)
    assert read_report(folder)["status"] == "finished"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_refused_resume_keeps_the_report(tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    constant = ("--model.schedule", "constant", "--data.validation", "none")
    before = read_report(run(tmp_path, *constant, "--trainer.max_epochs", "3"))
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, *constant, "--trainer.max_epochs", "1", "--ckpt_path", "last")
    assert read_report(tmp_path / "offline" / "version_0") == before
    assert "--trainer.max_epochs 1: the run is in epoch 3." in capfd.readouterr().err


def test_losses_of_other_images_are_refused(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted_run(tmp_path, 7, "--data.hard_fraction", "0.5")
    path = folder / "checkpoints" / "last.ckpt"
    content = last_checkpoint(folder)
    for losses, error in ((torch.ones(9), "trained on 9 images, but there are 1,437"), (3, "does not state")):
        content["DigitsDataModule"]["losses"] = losses
        torch.save(content, path)
        with pytest.raises(SystemExit, match="2"):
            run(tmp_path, "--ckpt_path", "last")
        assert error in capfd.readouterr().err


def test_resuming_a_finished_run_changes_nothing(whole: Path, tmp_path: Path, in_project: None) -> None:
    folder = shutil.copytree(whole, tmp_path / "offline" / "version_0")
    assert run(tmp_path, "--ckpt_path", "last") == folder
    assert_same_run(folder, whole)


@pytest.mark.parametrize(
    ("options", "asked", "reason", "hint", "more"),
    [
        ((), "5", "the one-cycle learning rate ended at the last step, in epoch 1", "--trainer.max_epochs 5.", ()),
        (
            (),
            "1",
            "the one-cycle learning rate ended at the last step, in epoch 1",
            "a larger --trainer.max_epochs.",
            (),
        ),
        (
            ("--model.schedule", "constant"),
            "1",
            "nothing is left to train.",
            "add a larger --trainer.max_epochs",
            ("--trainer.max_epochs", "2"),
        ),
        (
            ("--early_stopping.stopping_threshold", "0", "--trainer.max_epochs", "3"),
            "3",
            "stopped after epoch 1: validation accuracy ≥ 0.0",
            "--early_stopping.stopping_threshold null",
            ("--early_stopping.stopping_threshold", "null"),
        ),
    ],
)
def test_the_hint_when_nothing_is_left_to_train(
    options: tuple[str, ...],
    asked: str,
    reason: str,
    hint: str,
    more: tuple[str, ...],
    tmp_path: Path,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    quick = ["--trainer.limit_train_batches", "2", "--trainer.logger", "false", "--trainer.max_epochs", "1", *options]
    folder = run(tmp_path, *quick)
    capfd.readouterr()
    run(tmp_path, *quick, "--ckpt_path", "last", "--trainer.max_epochs", asked)
    *_, line = capfd.readouterr().err.splitlines()
    assert line.startswith("note: nothing is left to train")
    assert reason in line
    assert hint in line
    if more:
        run(tmp_path, *quick, "--ckpt_path", "last", *more)
        assert len(read_report(folder)["epochs"]) > 1


def test_last_means_the_newest_run_of_the_config(tmp_path: Path, in_project: None) -> None:
    checkpoints = [
        tmp_path / name / "checkpoints" / "last.ckpt" for name in ("a/version_0", "a/version_1", "b/version_0")
    ]
    for age, path in zip((200, 300, 100), checkpoints, strict=True):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    assert newest_last_checkpoint(tmp_path, "a") == checkpoints[0]
    assert newest_last_checkpoint(tmp_path, "*") == checkpoints[2]


def test_a_stopped_run_resumes_with_a_threshold_that_it_did_not_reach(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path, "--early_stopping.stopping_threshold", "0")
    run(tmp_path, "--ckpt_path", "last", "--early_stopping.stopping_threshold", "1")
    report = read_report(folder)
    assert (len(report["epochs"]), report["status"]) == (3, "finished")
    assert "nothing is left to train" not in capfd.readouterr().err


def test_what_is_monitored_and_how_gradients_are_clipped_is_kept(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    clipping = ("--trainer.gradient_clip_val", "0.1", "--trainer.gradient_clip_algorithm", "value")
    monitor = ("--best_checkpoint.monitor", "val/loss")
    expected = run(tmp_path / "whole", *clipping, *monitor)
    folder = interrupted_run(tmp_path, steps_per_epoch(expected) + 2, *clipping, *monitor)
    run(tmp_path, "--ckpt_path", "last")
    assert_same_run(folder, expected)
    err = capfd.readouterr().err
    assert "--trainer.gradient_clip_algorithm null: the run was started with value, which it keeps" in err
    assert "--best_checkpoint.monitor val/accuracy: the run was started with val/loss, which it keeps" in err


def test_last_of_a_run_with_a_name_that_is_no_folders(in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *RUN, "--run_name", "/tmp/mine", "--ckpt_path", "last"])
    assert "error: --run_name /tmp/mine: use letters" in capfd.readouterr().err


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_last_without_a_run_is_an_error(
    subcommand: str, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([subcommand, *RUN[:2], "--trainer.default_root_dir", str(tmp_path), "--ckpt_path", "last"])
    assert "error: --ckpt_path last: no run in" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_changed_settings_are_reported(
    whole: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted_run(tmp_path, 5)
    capfd.readouterr()
    run(tmp_path, "--ckpt_path", "last", "--model.max_lr", "0.2", "--trainer.max_epochs", "9", "--seed_everything", "3")
    notes = [line for line in capfd.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: --model.max_lr 0.2: the run was started with 0.1, which it keeps",
        "note: --seed_everything 3: the run was started with 0, which it keeps",
        "note: --trainer.max_epochs 9: the run was started with 3, which it keeps",
    ]
    assert_same_run(folder, whole)


def test_a_moved_run_continues_in_its_new_place(whole: Path, tmp_path: Path, in_project: None) -> None:
    folder = interrupted_run(tmp_path, steps_per_epoch(whole) + 2)
    moved = folder.rename(tmp_path / "elsewhere")
    main(
        ["fit", *RUN, "--trainer.default_root_dir", str(tmp_path), "--ckpt_path", str(moved / "checkpoints/last.ckpt")]
    )
    assert_same_run(moved, whole)
    assert not (tmp_path / "offline" / "version_0").exists()


def test_training_from_the_best_checkpoint_starts_a_new_run(whole: Path, tmp_path: Path, in_project: None) -> None:
    stopped = run(tmp_path, "--early_stopping.stopping_threshold", "0")
    assert len(read_report(stopped)["epochs"]) == 1
    before = last_checkpoint(stopped)
    folder = run(tmp_path, "--ckpt_path", str(stopped / "checkpoints" / "best.ckpt"), "--seed_everything", "3")
    assert folder != stopped
    assert "seed_everything: 0\n" in (folder / "config.yaml").read_text()
    assert_same_state(folder / "checkpoints" / "last.ckpt", whole / "checkpoints" / "last.ckpt")
    assert read_report(folder)["epochs"][0] == read_report(stopped)["epochs"][0]
    assert last_checkpoint(stopped)["global_step"] == before["global_step"]


@pytest.mark.slow
def test_events_written_twice_count_once(tmp_path: Path, in_project: None) -> None:
    """A killed run has already logged the steps after its last checkpoint."""
    whole = run(tmp_path / "whole", *DASHBOARDS)
    folder = interrupted_run(tmp_path, steps_per_epoch(whole) + 4, *DASHBOARDS)
    run(tmp_path, "--ckpt_path", "last", *DASHBOARDS)
    assert_same_run(folder, whole)
    for name in ("by_step/train_loss", "by_epoch/val_accuracy"):
        found, wanted = (
            [(event.step, event.value) for event in EventAccumulator(str(path)).Reload().Scalars(name)]
            for path in (folder, whole)
        )
        assert found == wanted


def test_a_weights_only_checkpoint_cannot_be_resumed(
    whole: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")
    torch.save({name: last_checkpoint(whole)[name] for name in names}, tmp_path / "weights.ckpt")
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *RUN, "--ckpt_path", str(tmp_path / "weights.ckpt"), "--trainer.default_root_dir", str(tmp_path)])
    assert "holds weights, but not what a run needs to resume" in capfd.readouterr().err
