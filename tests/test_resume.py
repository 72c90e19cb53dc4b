"""A run that was interrupted and goes on ends as one that was not: bit for bit, report and all."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import read_report
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typing_extensions import override

from mnist_lightning.cli import main
from mnist_lightning.resuming import newest_last_checkpoint

RUN = [
    *("--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--data.batch_size", "128"),
    *("--weight_average.decay", "0.9"),
]  # 3 epochs of 11 steps or more, with augmentation and dropout


class SignalAt(Callback):
    """Sends this process a signal after an optimizer step."""

    def __init__(self, step: int, signal_number: int = int(signal.SIGTERM)) -> None:
        self.step = step
        self.signal_number = signal_number

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.step:
            os.kill(os.getpid(), self.signal_number)


def run(root: Path, *args: str) -> Path:
    main(["fit", *RUN, "--trainer.default_root_dir", str(root), *args])
    return max(root.glob("offline/version_*"))


def interrupted_run(root: Path, step: int, *args: str) -> Path:
    with pytest.raises(SystemExit) as ended:
        run(root, "--trainer.callbacks+=test_resume.SignalAt", "--trainer.callbacks.step", str(step), *args)
    assert ended.value.code == 128 + signal.SIGTERM
    return max(root.glob("offline/version_*"))


def last_checkpoint(folder: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


def assert_same_end(folder: Path, expected: Path) -> None:
    assert_same_state(folder, expected)
    assert without_clock(read_report(folder)) == without_clock(read_report(expected))


def assert_same_state(folder: Path, expected: Path) -> None:
    found, wanted = last_checkpoint(folder), last_checkpoint(expected)
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(found[key], wanted[key], rtol=0, atol=0, msg=key)
    assert found["lr_schedulers"] == wanted["lr_schedulers"]
    assert found["global_step"] == wanted["global_step"]


def without_clock(report: dict[str, Any]) -> dict[str, Any]:
    epochs = [{name: value for name, value in row.items() if name != "seconds"} for row in report["epochs"]]
    rest = {key: value for key, value in report.items() if key not in ("wall_clock_seconds", "resumed", "command")}
    return rest | {"epochs": epochs}


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
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(
    place: str, workers: str, whole: Path, tmp_path: Path, in_project: None
) -> None:
    steps = steps_per_epoch(whole)
    step = {"first epoch": 3, "end of an epoch": steps, "last epoch": 2 * steps + 5}[place]
    folder = interrupted_run(tmp_path, step, "--data.num_workers", workers)
    assert last_checkpoint(folder)["global_step"] == step
    report = read_report(folder) if (folder / "report.json").exists() else {"epochs": []}
    assert len(report["epochs"]) == step // steps
    assert run(tmp_path, "--ckpt_path", "last", "--data.num_workers", workers) == folder
    assert_same_end(folder, whole)
    assert read_report(folder)["resumed"][0]["after_steps"] == step


def test_a_finished_run_stays_as_it_is(whole: Path, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    before, report = last_checkpoint(whole), without_clock(read_report(whole))
    assert run(whole.parent.parent, "--ckpt_path", "last") == whole
    torch.testing.assert_close(last_checkpoint(whole)["state_dict"], before["state_dict"], rtol=0, atol=0)
    assert without_clock(read_report(whole)) == report


def test_last_is_the_newest_of_this_configs_runs(tmp_path: Path, in_project: None) -> None:
    checkpoints = [
        tmp_path / name / "checkpoints" / "last.ckpt" for name in ("a/version_0", "a/version_1", "b/version_0")
    ]
    for age, path in zip((200, 300, 100), checkpoints, strict=True):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    assert newest_last_checkpoint(tmp_path, "a") == checkpoints[0]
    assert newest_last_checkpoint(tmp_path, "*") == checkpoints[2]


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_last_without_a_run_is_an_error(
    subcommand: str, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([subcommand, *RUN[:2], "--trainer.default_root_dir", str(tmp_path), "--ckpt_path", "last"])
    assert "error: --ckpt_path last: no run in" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_differs_from_the_runs_start_is_said(
    whole: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = interrupted_run(tmp_path, 5)
    capfd.readouterr()
    run(tmp_path, "--ckpt_path", "last", "--model.max_lr", "0.2", "--trainer.max_epochs", "9", "--seed_everything", "3")
    notes = [line for line in capfd.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        "note: --model.max_lr 0.2: the run was started with 0.1, and goes on with that",
        "note: --seed_everything 3: the run was started with 0, and goes on with that",
        "note: --trainer.max_epochs 9: the run was started with 3, and goes on with that",
    ]
    assert_same_end(folder, whole)


def test_a_run_that_was_moved_goes_on_where_it_is(whole: Path, tmp_path: Path, in_project: None) -> None:
    folder = interrupted_run(tmp_path, steps_per_epoch(whole) + 2)
    moved = folder.rename(tmp_path / "elsewhere")
    main(
        ["fit", *RUN, "--trainer.default_root_dir", str(tmp_path), "--ckpt_path", str(moved / "checkpoints/last.ckpt")]
    )
    assert_same_end(moved, whole)
    assert not (tmp_path / "offline" / "version_0").exists()


def test_training_from_the_best_checkpoint_is_a_run_of_its_own(whole: Path, tmp_path: Path, in_project: None) -> None:
    stopped = run(tmp_path, "--early_stopping.stopping_threshold", "0")
    assert len(read_report(stopped)["epochs"]) == 1
    before = last_checkpoint(stopped)
    folder = run(tmp_path, "--ckpt_path", str(stopped / "checkpoints" / "best.ckpt"))
    assert folder != stopped
    assert_same_state(folder, whole)
    assert read_report(folder)["epochs"][0] == read_report(stopped)["epochs"][0]
    assert last_checkpoint(stopped)["global_step"] == before["global_step"]


def test_events_that_were_written_twice_count_once(whole: Path, tmp_path: Path, in_project: None) -> None:
    """A run that was killed some steps after its last checkpoint has logged these steps already."""
    folder = interrupted_run(tmp_path, steps_per_epoch(whole) + 4)
    run(tmp_path, "--ckpt_path", "last")
    for name in ("by_step/train_loss", "by_epoch/val_accuracy"):
        found, wanted = (
            [(event.step, event.value) for event in EventAccumulator(str(path)).Reload().Scalars(name)]
            for path in (folder, whole)
        )
        assert found == wanted


def test_a_checkpoint_of_weights_alone_cannot_be_resumed(
    whole: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ("state_dict", "hyper_parameters", "datamodule_hyper_parameters", "pytorch-lightning_version")
    torch.save({name: last_checkpoint(whole)[name] for name in names}, tmp_path / "weights.ckpt")
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *RUN, "--ckpt_path", str(tmp_path / "weights.ckpt"), "--trainer.default_root_dir", str(tmp_path)])
    assert "holds weights, but not what a run needs to go on" in capfd.readouterr().err
