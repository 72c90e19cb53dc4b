"""Scalars for TensorBoard or another logger, by step and by epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.callbacks.training_totals import epoch_metrics, running_metrics
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.recipe import current_learning_rate, current_momentum


class ScalarLogger(Callback):
    """Logs `by_step/*` against optimizer steps, every `--trainer.log_every_n_steps`, and `by_epoch/*` against epochs.

    By step: training loss and accuracy since the start of the epoch, learning rate and momentum; at the end of the
    epoch, also validation loss and accuracy. By epoch: the same values after the last step of the epoch, and the
    metrics of the test after training.
    """

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not logs_after(trainer, batch_idx):
            return
        assert isinstance(pl_module, DigitClassifier)
        loss, accuracy = running_metrics(pl_module)
        scalars = {"train_loss": loss, "train_accuracy": accuracy, **_schedule(trainer)}
        log_scalars(trainer, "by_step", scalars, trainer.global_step)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DigitClassifier)
        metrics = {name.replace("/", "_"): value for name, value in epoch_metrics(pl_module).items()}
        log_scalars(trainer, "by_step", metrics, trainer.global_step)
        log_scalars(trainer, "by_epoch", {**metrics, **_schedule(trainer)}, trainer.current_epoch + 1)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        scalars = {name.replace("/", "_"): value for name, value in figures.items()}
        log_scalars(trainer, "by_epoch", scalars, trainer.current_epoch)


def logs_after(trainer: Trainer, batch_idx: int) -> bool:
    """Whether scalars are logged after this batch; hooks may wait for the device at these batches only."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return bool(trainer.loggers) and interval > 0 and (batch_idx + 1) % interval == 0


def log_scalars(trainer: Trainer, group: str, scalars: dict[str, float], step: int) -> None:
    """Logs each scalar as `GROUP/NAME` to all loggers of the run; Lightning saves their files after each epoch."""
    for logger in trainer.loggers:
        logger.log_metrics({f"{group}/{name}": value for name, value in scalars.items()}, step=step)


def _schedule(trainer: Trainer) -> dict[str, float]:
    return {"learning_rate": current_learning_rate(trainer), "momentum": current_momentum(trainer)}
