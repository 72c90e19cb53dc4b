"""Loss and accuracy of the current training epoch: kept in checkpoints, and read while it runs and at its end."""

import copy
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier


class TrainingTotals(Callback):
    """Saves the epoch's totals so far, over all processes, so that a resumed run reports the whole epoch."""

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(pl_module, DigitClassifier)
        checkpoint["train_metrics"] = {}
        for name, metric in pl_module.train_metrics.items():
            with metric.sync_context():
                checkpoint["train_metrics"][name] = copy.deepcopy(metric.metric_state)

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        assert isinstance(pl_module, DigitClassifier)
        for name, metric in pl_module.train_metrics.items():
            saved = checkpoint.get("train_metrics", {}).get(name, {})
            for key, state in metric.metric_state.items():
                if key in saved:
                    setattr(metric, key, saved[key].to(state).view_as(state))

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DigitClassifier)
        if trainer.global_rank > 0:
            pl_module.train_metrics.reset()  # the first process has the totals of all


def running_metrics(module: DigitClassifier) -> tuple[float, float]:
    """Mean loss and accuracy of this process since the epoch's start. Waits for the device, so call it seldom."""
    # From the states: `compute()` would wait for the other processes, which may not call it.
    loss_sum, num_images = (_state(module, "loss", name) for name in ("mean_value", "weight"))
    return loss_sum / num_images, _state(module, "accuracy", "tp") / num_images


def _state(module: DigitClassifier, metric: str, name: str) -> float:
    state = module.train_metrics[metric].metric_state[name]
    assert isinstance(state, Tensor)
    return float(state)


def epoch_metrics(module: DigitClassifier) -> dict[str, float]:
    """Loss and accuracy of the epoch that has just ended, in training and, where there was any, in validation.

    For callbacks' `on_train_epoch_end`, which comes before the module's own. All processes must call it.
    """
    figures = dict(module.train_metrics.compute())
    if module.val_metrics["loss"].update_called:
        figures |= module.val_metrics.compute()
    return {name: float(value) for name, value in figures.items()}
