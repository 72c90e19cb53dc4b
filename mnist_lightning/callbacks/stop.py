"""What ends a run early: a loss that is not finite, or a validation accuracy that reaches a threshold."""

import math
from typing import Any

import torch
from jsonargparse.typing import ClosedUnitInterval
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.checkpoints import SMALLER_STEPS
from mnist_lightning.callbacks.progress import epoch_metrics, logs_after, running_metrics
from mnist_lightning.classifier import check_finite
from mnist_lightning.errors import DivergenceError
from mnist_lightning.recipe import current_rates


class FiniteLoss(Callback):
    """Ends a run or an evaluation whose loss is not finite.

    Checks the mean loss since the epoch's start, which keeps any NaN, at the logging interval and at the epoch's end.
    Checkpoints are checked where they are written.
    """

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if logs_after(trainer, batch_idx):
            _check(trainer, "the loss", running_metrics(pl_module)[0])

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, value in epoch_metrics(pl_module).items():
            _check(trainer, name, value)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name in {"test/loss", "val/loss"} & trainer.callback_metrics.keys():  # neither if limits leave no batch
            check_finite(trainer.callback_metrics[name])

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.on_test_end(trainer, pl_module)


def _check(trainer: Trainer, name: str, value: float) -> None:
    # All processes end together, whichever found it.
    if not trainer.strategy.reduce_boolean_decision(math.isfinite(value), all=True):
        raise DivergenceError(
            f"{name} is not a finite number at step {trainer.global_step}, with a learning rate of "
            f"{current_rates(trainer)['learning_rate']:.6g}; no checkpoint of it was written. {SMALLER_STEPS}"
        )


class StopAtThreshold(Callback):
    """Ends the run after the epoch whose validation accuracy is at least the threshold.

    The framework's EarlyStopping requires more than the threshold, and trains on when a stopped run is resumed.

    Args:
        stopping_threshold: Validation accuracy to stop at, in [0, 1]; null runs all epochs.
    """

    def __init__(self, stopping_threshold: ClosedUnitInterval | None = None) -> None:
        self.stopping_threshold = stopping_threshold
        self.accuracy: float | None = None  # of the last validation

    @property
    def is_reached(self) -> bool:
        """Whether the last validation reached the threshold."""
        if self.stopping_threshold is None or self.accuracy is None:
            return False
        # In the metric's precision: 9,940 / 10,000 in float32 is not the float64 0.994.
        return self.accuracy >= float(torch.tensor(self.stopping_threshold, dtype=torch.float32))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.accuracy = state_dict["accuracy"]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.is_reached

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/accuracy")
        if accuracy is not None and not trainer.sanity_checking and trainer.state.fn == "fit":
            self.accuracy = float(accuracy)
            trainer.should_stop = trainer.should_stop or self.is_reached
