"""What the console shows while a run goes on: one bar for the epoch, and one line for each that has ended."""

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.learning_rate import current_learning_rate
from mnist_lightning.option_types import CountOrZero


@rank_zero_only
def print_above_bar(text: str) -> None:
    """Prints to standard output, from the first process alone, without tearing a bar that is being drawn."""
    Tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def epoch_title(epoch: int, max_epochs: int | None) -> str:
    """`epoch  3/15`, or `epoch  3` where steps or time end the run."""
    return f"epoch {epoch:2}" + (f"/{max_epochs}" if max_epochs is not None and max_epochs > 0 else "")


class EpochProgressBar(TQDMProgressBar):
    """A bar on standard error with loss, running accuracy, learning rate and time left.

    Nothing is drawn where standard error is not a terminal; the epochs' lines are printed all the same.

    Args:
        refresh_rate: Steps between two drawings, 0 for none; reading the loss more often would make the device wait.
    """

    BAR_FORMAT = "{l_bar}{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"

    def __init__(self, refresh_rate: CountOrZero = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def _bar(self, description: str) -> Tqdm:
        return Tqdm(
            desc=description,
            disable=self.is_disabled or not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

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
    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(epoch_title(trainer.current_epoch + 1, trainer.max_epochs))

    @override
    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        assert isinstance(pl_module, DigitClassifier)
        if trainer.sanity_checking:
            return {}  # nothing is trained yet
        loss, accuracy = pl_module.running_training_metrics()
        return {
            "loss": f"{loss:.4f}",
            "accuracy": f"{accuracy:.2%}",
            "lr": f"{current_learning_rate(trainer):.6f}",
        }
