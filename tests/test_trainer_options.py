"""The options of Lightning's Trainer that the project handles itself; the others are the framework's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.main import main
from support.runs import Fit, read_report, weights

ONE_EPOCH = ("--trainer.max_epochs", "1")


@pytest.fixture
def refused(in_project: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The error of a refused run; checks that it left no files."""

    def error(*options: str) -> str:
        root = ["--trainer.logger", "false", "--trainer.default_root_dir", str(tmp_path)]
        with pytest.raises(SystemExit, match="2"):
            main(["fit", "--config", "configs/offline.yaml", *root, *options])
        assert list(tmp_path.glob("*/version_*")) == []
        (line,) = capfd.readouterr().err.splitlines()
        return line

    return error


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("strategy", "ddp_spawn", "use --trainer.strategy ddp"),
        ("overfit_batches", "1", "use --trainer.limit_train_batches"),
        ("val_check_interval", "0.25", "one validation per epoch"),
        ("callbacks", "LearningRateFinder", "Set --model.max_lr."),
    ],
)
def test_an_option_that_cannot_work_is_refused(option: str, value: str, hint: str, refused: Callable[..., str]) -> None:
    error = refused(f"--trainer.{option}", value)
    assert error.startswith(f"error: --trainer.{option} {value}: ")
    assert hint.lower() in error.lower()


def test_one_cycle_needs_an_end(refused: Callable[..., str]) -> None:
    assert "--trainer.max_epochs -1 sets none" in refused("--trainer.max_epochs", "-1")


def test_a_development_run_writes_nothing(in_project: None, tmp_path: Path) -> None:
    args = ["--trainer.fast_dev_run", "3", "--trainer.callbacks", f"{__name__}.CountSteps"]
    main(["fit", "--config", "configs/offline.yaml", *args, "--trainer.default_root_dir", str(tmp_path)])
    assert CountSteps.num_steps == 3
    assert list(tmp_path.iterdir()) == []


class CountSteps(Callback):
    """Keeps what a run's files do not show."""

    num_steps = 0
    dtype = torch.float32  # of the network

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        CountSteps.num_steps, CountSteps.dtype = 0, next(pl_module.parameters()).dtype

    @override
    def on_train_batch_end(self, *args: Any) -> None:
        CountSteps.num_steps += 1


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16-true", torch.bfloat16), ("64-true", torch.float64), ("bf16-mixed", torch.float32)],
)
def test_images_follow_the_precision_of_the_network(precision: str, dtype: torch.dtype, fit: Fit) -> None:
    report = read_report(fit("--trainer.precision", precision, "--trainer.callbacks", f"{__name__}.CountSteps"))
    assert (CountSteps.dtype, report["precision"]) == (dtype, precision)


def test_files_of_a_run_without_loggers_and_checkpoints(fit: Fit) -> None:
    options = ("--trainer.enable_checkpointing", "false", "--trainer.enable_progress_bar", "false")
    assert {path.name for path in fit(*options, *ONE_EPOCH).iterdir()} - {".lock"} == {
        *("config.yaml", "report.json", "report.md")
    }


def test_a_new_loader_in_each_epoch_keeps_order_and_augmentation(fit: Fit, finished: Path) -> None:
    again = weights(fit("--trainer.reload_dataloaders_every_n_epochs", "1"))
    assert all(torch.equal(value, again[name]) for name, value in weights(finished).items())


def test_an_epoch_without_validation_has_no_figures(fit: Fit) -> None:
    report = read_report(fit("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"))
    assert ["val_accuracy" in row for row in report["epochs"]] == [False, True, False]
    assert report["requirements"][0]["value"] == "not measured"
