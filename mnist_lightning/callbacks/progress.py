"""The figures of a run while it trains: in the console, and in TensorBoard or another logger."""

import sys
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm, convert_inf
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.recipe import current_rates
from mnist_lightning.runs.record_text import epoch_title


def classifier_of(module: LightningModule) -> DigitClassifier:
    """The module as what it is in every run of this project."""
    assert isinstance(module, DigitClassifier)
    return module


def running_metrics(module: LightningModule) -> tuple[float, float]:
    """Mean loss and accuracy of this process since the epoch's start. Waits for the device, so call it seldom."""
    # From the states: `compute()` would wait for the other processes, which may not call it.
    metrics = classifier_of(module).train_metrics
    loss, accuracy = metrics["loss"].metric_state, metrics["accuracy"].metric_state
    num_images = float(loss["weight"])  # type: ignore[arg-type]
    return float(loss["mean_value"]) / num_images, float(accuracy["tp"]) / num_images  # type: ignore[arg-type]


def epoch_metrics(module: LightningModule) -> dict[str, float]:
    """Loss and accuracy of the epoch that has just ended, in training and, where there was any, in validation.

    For callbacks' `on_train_epoch_end`, which comes before the module's own. All processes must call it.
    """
    classifier = classifier_of(module)
    figures = dict(classifier.train_metrics.compute())
    if classifier.val_metrics["loss"].update_called:
        figures |= classifier.val_metrics.compute()
    return {name: float(value) for name, value in figures.items()}


def logs_after(trainer: Trainer, batch_idx: int) -> bool:
    """Whether figures are read after this batch; hooks may wait for the device at these batches only."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return interval > 0 and (batch_idx + 1) % interval == 0


@rank_zero_only
def print_above_bar(text: str) -> None:
    """Prints to standard output, from the first process only, above any progress bar."""
    Tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def close_bars() -> None:
    """Closes all bars, so that the next text begins on a line of its own."""
    for bar in list(Tqdm._instances):  # tqdm has no public list of them
        bar.close()


class EpochProgressBar(TQDMProgressBar):
    """A bar with loss, running accuracy, learning rate and time left, if standard error is a terminal."""

    BAR_FORMAT = "{desc}|{bar:5}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"  # fits 80 columns

    def _bar(self) -> Tqdm:
        hidden, form = self.is_disabled or not sys.stderr.isatty(), self.BAR_FORMAT
        return Tqdm(disable=hidden, leave=False, dynamic_ncols=True, file=sys.stderr, smoothing=0, bar_format=form)

    init_sanity_tqdm = init_train_tqdm = init_validation_tqdm = init_test_tqdm = init_predict_tqdm = _bar

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        # The framework's own first draws the new epoch with the metrics of the previous one.
        self.train_progress_bar.set_postfix_str("", refresh=False)
        title = epoch_title(trainer.current_epoch + 1, trainer.max_epochs)
        self.train_progress_bar.set_description(title, refresh=False)
        self.train_progress_bar.reset(convert_inf(self.total_train_batches))

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        if not trainer.training:
            return {}
        loss, accuracy = running_metrics(pl_module)
        rate = current_rates(trainer)["learning_rate"]
        return {"loss": f"{loss:.4f}", "acc": f"{accuracy:.2%}", "lr": f"{rate:.3g}"}


class ScalarLogger(Callback):
    """Logs `by_step/*` against optimizer steps, every `--trainer.log_every_n_steps`, and `by_epoch/*` against epochs.

    Training loss and accuracy since the start of the epoch, validation loss and accuracy, learning rate and momentum.
    """

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.loggers and logs_after(trainer, batch_idx):
            loss, accuracy = running_metrics(pl_module)
            scalars = {"train_loss": loss, "train_accuracy": accuracy, **current_rates(trainer)}
            _log(trainer, "by_step", scalars, trainer.global_step)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = epoch_metrics(pl_module)
        _log(trainer, "by_step", metrics, trainer.global_step)
        _log(trainer, "by_epoch", metrics | current_rates(trainer), trainer.current_epoch + 1)

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
        _log(trainer, "by_epoch", figures, trainer.current_epoch)


def _log(trainer: Trainer, group: str, scalars: dict[str, float], step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({f"{group}/{name.replace('/', '_')}": value for name, value in scalars.items()}, step=step)
