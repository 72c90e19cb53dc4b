"""A run that was interrupted and goes on ends as one that was not: bit for bit, report and all."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import read_report
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.cli import main

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
    found, wanted = last_checkpoint(folder), last_checkpoint(expected)
    for key in ("state_dict", "current_model_state", "optimizer_states"):
        torch.testing.assert_close(found[key], wanted[key], rtol=0, atol=0, msg=key)
    assert found["lr_schedulers"] == wanted["lr_schedulers"]
    assert found["global_step"] == wanted["global_step"]
    assert without_clock(read_report(folder)) == without_clock(read_report(expected))


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


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("place", ["first epoch", "end of an epoch", "last epoch"])
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
