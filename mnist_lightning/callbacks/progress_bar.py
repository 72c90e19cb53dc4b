"""The console during a run: a bar for the current epoch, and a line for each finished one."""

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm, convert_inf
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.bounds import CountOrZero
from mnist_lightning.callbacks.training_totals import running_metrics
from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.recipe import current_learning_rate
from mnist_lightning.runs.record_text import epoch_title, rate_text


@rank_zero_only
def print_above_bar(text: str, to_stderr: bool = False) -> None:
    """Prints to standard output or error, from the first process only, above any progress bar."""
    file = sys.stderr if to_stderr else sys.stdout
    Tqdm.write(text, file=file)
    file.flush()


def close_bars() -> None:
    """Closes all bars, so that the next text begins on a line of its own."""
    for bar in list(Tqdm._instances):  # tqdm has no public list of them
        bar.close()


class EpochProgressBar(TQDMProgressBar):
    """A bar on standard error with loss, running accuracy, learning rate and time left.

    Drawn only if standard error is a terminal; the epochs' lines are always printed.

    Args:
        refresh_rate: Steps between updates of the bar, each of which waits for the device; 0 draws no bar.
    """

    BAR_FORMAT = "{desc}|{bar:5}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"  # fits 80 columns

    def __init__(self, refresh_rate: CountOrZero = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def _bar(self, description: str) -> Tqdm:
        return Tqdm(
            desc=f"{description}: ",
            disable=self.is_disabled or not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    @override
    def init_sanity_tqdm(self) -> Tqdm:
        return self._bar(self.sanity_check_description)

    @override
    def init_train_tqdm(self) -> Tqdm:
        return self._bar(self.train_description)

    @override
    def init_validation_tqdm(self) -> Tqdm:
        return self._bar(self.validation_description)

    @override
    def init_test_tqdm(self) -> Tqdm:
        return self._bar(self.test_description)

    @override
    def init_predict_tqdm(self) -> Tqdm:
        return self._bar(self.predict_description)

    @override
    def on_train_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_start(trainer, *args)
        self._begin_epoch(trainer)  # a run that resumes within an epoch has no `on_train_epoch_start`

    @override
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        # The framework's own first draws the new epoch with the metrics of the previous one.
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        self.train_progress_bar.set_postfix_str("", refresh=False)
        title = epoch_title(trainer.current_epoch + 1, trainer.max_epochs)
        self.train_progress_bar.set_description(title, refresh=False)
        self.train_progress_bar.reset(convert_inf(self.total_train_batches))

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The framework's own first draws the new step with the metrics of an earlier one.
        if self._should_update(batch_idx + 1, self.train_progress_bar.total):
            self.train_progress_bar.n = batch_idx + 1
            self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        assert isinstance(pl_module, DigitClassifier)
        if trainer.sanity_checking:
            return {}  # no training step has run yet
        loss, accuracy = running_metrics(pl_module)
        return {
            "loss": f"{loss:.4f}",
            "acc": f"{accuracy:.2%}",
            "lr": rate_text(current_learning_rate(trainer)),
        }
