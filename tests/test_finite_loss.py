"""A loss that is no number ends the run at once, and leaves the checkpoints of before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Fit, read_report
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.checkpoints import load_checkpoint

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
        fit(*args)
    assert ended.value.code == 2
    (folder,) = root.glob("runs/*/version_*")
    return folder


# Three steps an epoch; the figures are read after the second of each and at its end.
@pytest.mark.parametrize("step", [1, 2, 3, 5, 6])
def test_the_first_bad_step_is_named_with_its_rate(
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


def test_a_rate_that_is_far_too_large_ends_the_run(fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failed_run(fit, tmp_path, "--model.max_lr", "100", "--model.batch_norm", "false")
    assert "--model.max_lr" in capfd.readouterr().err
