"""Ends a run whose loss is not finite before a checkpoint of it is written, and an evaluation whose loss is not."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mnist_lightning.classifier import check_finite
from mnist_lightning.errors import DivergenceError
from mnist_lightning.recipe import current_learning_rate
from mnist_lightning.runs.checkpoint_file import first_not_finite

_NO_STEP = 2**62


class FiniteLoss(Callback):
    """Checks the loss of each step on the device, and reads the result back at the logging interval.

    No other step waits for the device. The result is also read before a checkpoint is written. The loss of a
    validation or test is checked at its end.
    """

    def __init__(self) -> None:
        self._first_bad_step: Tensor | None = None  # (), int64, on the device; steps count from 1
        self._learning_rates: dict[int, float] = {}  # of the steps since the last reading

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._learning_rates[trainer.global_step + 1] = current_learning_rate(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"]
        if self._first_bad_step is None:
            self._first_bad_step = torch.full((), _NO_STEP, device=loss.device)
        step = torch.where(loss.isfinite(), _NO_STEP, next(reversed(self._learning_rates)))
        self._first_bad_step = torch.minimum(self._first_bad_step, step)
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if interval and (batch_idx + 1) % interval == 0:
            self._check(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer)
        self._check_weights(trainer, checkpoint["state_dict"])

    def _check_weights(self, trainer: Trainer, state_dict: dict[str, Tensor]) -> None:
        if (name := first_not_finite(state_dict)) is not None:
            raise DivergenceError(
                f"{name} is not finite after step {trainer.global_step}, with a learning rate of "
                f"{current_learning_rate(trainer):.6g}; no checkpoint of it was written. {_HINT}"
            )

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_evaluation(trainer, pl_module, "val/loss")

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_evaluation(trainer, pl_module, "test/loss")

    def _check_evaluation(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        self._check(trainer)  # it names the step
        loss = trainer.callback_metrics.get(name)  # None if the trainer's limits leave nothing to evaluate
        if loss is None:
            return
        if self._first_bad_step is None:  # no training: the weights are a checkpoint's
            check_finite(loss)
        elif not loss.isfinite():
            self._check_weights(trainer, pl_module.state_dict())
            raise DivergenceError(f"{name} is not a finite number after step {trainer.global_step}. {_HINT}")

    def _check(self, trainer: Trainer) -> None:
        if self._first_bad_step is None:
            return
        # All processes end together, whichever found it.
        step = int(trainer.strategy.reduce(self._first_bad_step, reduce_op="min"))
        if step != _NO_STEP:
            raise DivergenceError(
                f"the loss is not a finite number at step {step}, with a learning rate of "
                f"{self._learning_rates[step]:.6g}; no checkpoint of it was written. {_HINT}"
            )
        self._learning_rates.clear()


_HINT = "Use a smaller --model.max_lr, or --trainer.gradient_clip_val 1."
