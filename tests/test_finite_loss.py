"""A loss or weight that is not finite ends the run, and keeps the checkpoints of earlier epochs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_checkpoint
from support.runs import Fit, read_report


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
    with pytest.raises(SystemExit, match="2"):
        fit("--trainer.log_every_n_steps", "2", *args)
    return root / "runs" / "offline" / "version_0"


# Three steps per epoch; the loss is looked at after the second step and at the end of each epoch.
@pytest.mark.parametrize(("step", "seen_at"), [(1, 2), (3, 3), (5, 5)])
def test_the_error_names_the_step_at_which_it_was_seen(
    step: int, seen_at: int, fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    poison = ("--trainer.callbacks", "test_finite_loss.Poison", "--trainer.callbacks.before_step", str(step))
    folder = failed_run(fit, tmp_path, *poison)
    error = capfd.readouterr().err.splitlines()[-1]
    assert f"loss is not a finite number at step {seen_at}, with a learning rate of " in error
    assert "Use a smaller --model.max_lr, or --trainer.gradient_clip_val 1." in error
    last = folder / "checkpoints" / "last.ckpt"
    assert last.exists() == (step > 3)
    if last.exists():
        content = load_checkpoint(last)
        assert content["global_step"] == 3
        assert all(values.isfinite().all() for values in content["state_dict"].values())
        report = read_report(folder)
        assert len(report["epochs"]) == 1
        assert report["status"].startswith("ended: ")


def test_weights_that_are_not_finite_are_not_written(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    poison = ("--trainer.callbacks", "test_finite_loss.Poison", "--trainer.callbacks.after_step", "3")
    failed_run(fit, tmp_path, *poison, "--data.validation", "none")  # whose loss would show it
    assert "net.layers.0.weight is not finite; no checkpoint of it was written." in capfd.readouterr().err
    assert list(tmp_path.rglob("*.ckpt")) == []


@pytest.mark.parametrize("command", ["test", "predict"])
def test_an_evaluation_that_overflows_is_refused(
    command: str, finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = load_checkpoint(finished / "checkpoints" / "last.ckpt")
    for values in content["state_dict"].values():
        if values.ndim == 4:
            values.fill_(1e30)  # overflows in the second layer
    torch.save(content, tmp_path / "large.ckpt")
    with pytest.raises(SystemExit, match="2"):
        main([command, "--ckpt_path", str(tmp_path / "large.ckpt")])
    output = capfd.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: the network's outputs are not finite: its weights are too large.")
