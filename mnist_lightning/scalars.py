"""The scalars of a run for TensorBoard or another logger, against the step and against the epoch."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.learning_rate import current_learning_rate, current_momentum


class ScalarLogger(Callback):
    """Logs `by_step/*` against optimizer steps, every `--trainer.log_every_n_steps`, and `by_epoch/*` against epochs.

    By step: the training loss and accuracy since the epoch's start, the learning rate and the momentum, and at each
    epoch's end the validation's too. By epoch: the same but the momentum, after the epoch's last step.
    """

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("data set", trainer.datamodule.title)  # type: ignore[attr-defined]

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.loggers or interval == 0 or (batch_idx + 1) % interval:
            return
        assert isinstance(pl_module, DigitClassifier)
        loss, accuracy = pl_module.running_training_metrics()
        scalars = {
            "by_step/train_loss": loss,
            "by_step/train_accuracy": accuracy,
            "by_step/learning_rate": current_learning_rate(trainer),
            "by_step/momentum": current_momentum(trainer),
        }
        for logger in trainer.loggers:
            logger.log_metrics(scalars, step=trainer.global_step)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, DigitClassifier)
        metrics = {name.replace("/", "_"): value for name, value in pl_module.epoch_metrics().items()}
        by_step = {f"by_step/{name}": value for name, value in metrics.items()}
        by_epoch = {f"by_epoch/{name}": value for name, value in metrics.items()}
        by_epoch["by_epoch/learning_rate"] = current_learning_rate(trainer)
        for logger in trainer.loggers:
            logger.log_metrics(by_step, step=trainer.global_step)
            logger.log_metrics(by_epoch, step=trainer.current_epoch + 1)
