"""A loss that is not finite ends the run and keeps earlier checkpoints; no command prints such figures."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support.runs import PROJECT, Fit, read_report

REFUSED = "error: the outputs of this checkpoint's network are not finite: its weights are too large."
POISON = ["--trainer.log_every_n_steps", "2", "--trainer.callbacks+=test_finite_loss.Poison"]


class Poison(Callback):
    """Makes a weight infinite, before or after an optimizer step."""

    def __init__(self, before_step: int = 0, after_step: int = 0) -> None:
        self.before_step = before_step
        self.after_step = after_step

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.before_step:
            self._poison(pl_module)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.after_step:
            self._poison(pl_module)

    def _poison(self, pl_module: LightningModule) -> None:
        with torch.no_grad():
            next(pl_module.parameters())[0] = torch.inf


def failed_run(fit: Fit, root: Path, *args: str) -> Path:
    with pytest.raises(SystemExit) as ended:
        fit(*args, dashboards=True)  # which must handle values that are not finite
    assert ended.value.code == 2
    (folder,) = root.glob("runs/*/version_*")
    return folder


# Three steps per epoch; the loss is checked after the second step and at the end of each epoch.
@pytest.mark.parametrize("step", [1, 2, 3, 5, 6])
def test_the_error_names_the_first_bad_step_and_its_learning_rate(
    step: int, fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = failed_run(fit, tmp_path, *POISON, "--trainer.callbacks.before_step", str(step))
    weights = [torch.nn.Parameter(torch.zeros(()))]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=6, pct_start=0.2)
    for _ in range(step - 1):
        optimizer.step()
        schedule.step()
    error = capfd.readouterr().err
    assert f"error: the loss is not a finite number at step {step}, " in error
    assert f"with a learning rate of {schedule.get_last_lr()[0]:.6g};" in error
    report = read_report(folder)
    assert report["status"].startswith("ended: the loss is not a finite number")
    assert len(report["epochs"]) == (step - 1) // 3
    last = folder / "checkpoints" / "last.ckpt"
    assert last.exists() == (step > 3)
    if last.exists():
        assert load_checkpoint(last)["global_step"] == 3
        assert all(values.isfinite().all() for values in load_checkpoint(last)["state_dict"].values())


def test_weights_that_are_not_finite_are_not_written(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = failed_run(fit, tmp_path, *POISON, "--trainer.callbacks.after_step", "3")
    assert "is not finite after step 3, with a learning rate of" in capfd.readouterr().err
    assert not (folder / "checkpoints").exists()


def test_a_far_too_large_learning_rate_ends_the_run(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failed_run(fit, tmp_path, "--model.max_lr", "100", "--model.batch_norm", "false")
    assert "--model.max_lr" in capfd.readouterr().err


class LargeMean(Callback):
    """Makes a batch norm's running mean so large that evaluation overflows; training does not use it."""

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        with torch.no_grad():
            pl_module.get_buffer("net.layers.1.running_mean").fill_(-3e38)


@pytest.mark.parametrize(("validation", "name"), [("test", "val/loss"), ("none", "test/loss")])
def test_an_evaluation_that_overflows_ends_the_run(
    validation: str, name: str, fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    large_mean = "--trainer.callbacks+=test_finite_loss.LargeMean"
    folder = failed_run(fit, tmp_path, "--data.validation", validation, "--trainer.max_epochs", "1", large_mean)
    output = capfd.readouterr()
    assert f"error: {name} is not a finite number after step 3. Use a smaller --model.max_lr" in output.err
    assert "nan" not in output.out
    assert "NaN" not in (folder / "report.json").read_text()


@pytest.fixture(scope="module")
def finite_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder; tests must not change it."""
    root = tmp_path_factory.mktemp("finite")
    short = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.logger", "false")
    config = str(PROJECT / "configs" / "offline.yaml")
    main(["fit", "--config", config, *short, "--trainer.default_root_dir", str(root)])
    return root / "offline" / "version_0"


BadRun = Callable[[float], Path]


@pytest.fixture
def bad_run(finite_run: Path, tmp_path: Path) -> BadRun:
    """Copies the run, with this value for all weights of the convolutions."""

    def copy(value: float) -> Path:
        folder = Path(shutil.copytree(finite_run, tmp_path / "version_0"))
        path = folder / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        for values in checkpoint["state_dict"].values():
            if values.ndim == 4:
                values.fill_(value)
        torch.save(checkpoint, path)
        return folder

    return copy


COMMANDS = {
    "test": ["test", "--ckpt_path", "CHECKPOINT"],
    "test_time_augmentation": ["test", "--ckpt_path", "CHECKPOINT", "--model.test_time_augmentation", "true"],
    "validate": ["validate", "--ckpt_path", "CHECKPOINT"],
    "predict": ["predict", "--ckpt_path", "CHECKPOINT"],
    "read": ["read", "--ckpt_path", "CHECKPOINT", str(PROJECT / "examples")],
    "report": ["report", "RUN"],
    "onnx": ["export", "--ckpt_path", "CHECKPOINT", "--format", "onnx", "--output", "OUTPUT.onnx"],
    "onnx_int8": ["export", "--ckpt_path", "CHECKPOINT", "--format", "onnx_int8", "--output", "OUTPUT.onnx"],
    "torch": ["export", "--ckpt_path", "CHECKPOINT", "--format", "torch", "--output", "OUTPUT.pt2"],
    "weights": ["export", "--ckpt_path", "CHECKPOINT", "--format", "weights", "--output", "OUTPUT.ckpt"],
}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])  # the last overflows in the second layer
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_figures_that_are_not_finite(
    name: str, value: float, bad_run: BadRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = bad_run(value)
    places = {"RUN": folder, "CHECKPOINT": folder / "checkpoints" / "last.ckpt", "OUTPUT": tmp_path / "output"}
    args = COMMANDS[name]
    for word, place in places.items():
        args = [arg.replace(word, str(place)) for arg in args]
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main(args)
    output = capfd.readouterr()
    assert "nan" not in output.out + output.err
    assert "Traceback" not in output.err
    if value == 1e30:
        assert REFUSED in output.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_demo_refuses_weights_that_overflow(bad_run: BadRun, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = bad_run(1e30) / "checkpoints" / "last.ckpt"
    with socket.socket() as taken:  # if the demo started, it would fail here
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit, match="2"):
            main(["demo", "--ckpt_path", str(checkpoint), "--port", str(taken.getsockname()[1])])
    assert REFUSED in capfd.readouterr().err
