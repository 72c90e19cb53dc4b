"""Stops a run after the epoch whose validation figure reaches a threshold."""

from typing import Any

import torch
from jsonargparse.typing import ClosedUnitInterval
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override


class StopAtThreshold(Callback):
    """Ends the run after the epoch whose validation accuracy is at least the threshold.

    The framework's EarlyStopping requires more than the threshold, and always has a patience that ends runs.

    Args:
        stopping_threshold: Validation accuracy to stop at, in [0, 1]; null runs all epochs.
    """

    def __init__(self, stopping_threshold: ClosedUnitInterval | None = None) -> None:
        self.stopping_threshold = stopping_threshold
        self.stopped_epoch: int | None = None  # counted from 1
        self.accuracy: float | None = None  # that stopped the run

    @override
    def state_dict(self) -> dict[str, Any]:
        """Holds the epoch that stopped the run, and its accuracy."""
        return {"stopped_epoch": self.stopped_epoch, "accuracy": self.accuracy}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps a stopped run stopped, unless it is resumed without a threshold or with one that it did not reach."""
        accuracy = state_dict.get("accuracy")  # earlier versions did not save it
        if self.stopping_threshold is not None and (accuracy is None or self._is_reached(accuracy)):
            self.stopped_epoch, self.accuracy = state_dict["stopped_epoch"], accuracy

    def _is_reached(self, accuracy: float) -> bool:
        # In the metric's precision: 9,940 / 10,000 in float32 is not the float64 0.994.
        return accuracy >= float(torch.tensor(self.stopping_threshold, dtype=torch.float32))

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.stopped_epoch is not None:
            trainer.should_stop = True

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/accuracy")
        if self.stopping_threshold is None or accuracy is None or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self._is_reached(float(accuracy)):
            self.stopped_epoch, self.accuracy = trainer.current_epoch + 1, float(accuracy)
            trainer.should_stop = True
