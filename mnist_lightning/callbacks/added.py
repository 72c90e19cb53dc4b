"""Callbacks that the user adds with --trainer.callbacks: which of them cannot work here."""

from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import Callback, callbacks

from mnist_lightning.errors import UserError

REFUSED: dict[type[Callback], str] = {
    callbacks.BackboneFinetuning: "the networks here have no `backbone`. Omit it.",
    callbacks.BatchSizeFinder: "it trains before the run starts, which the record would count. Set --data.batch_size.",
    callbacks.LearningRateFinder: "it trains before the run starts, which the record would count. Set --model.max_lr.",
    callbacks.ModelPruning: "it renames the weights, so that no command could read the run's checkpoints. Omit it.",
    callbacks.OnExceptionCheckpoint: "the next run would continue from the file that it leaves. Omit it.",
    callbacks.StochasticWeightAveraging: "it replaces the learning rate schedule. Use EMAWeightAveraging.",
}
LOGGED = ("train/loss", "train/accuracy", "epoch", "step")
LOGGED_IN_VALIDATION = ("val/loss", "val/accuracy")


def check_added(added: Sequence[Callback], run_folder: Path | None, has_validation: bool) -> None:
    """Checks the user's callbacks before training, and keeps their checkpoints apart from the run's own."""
    logs_more = any(not type(callback).__module__.startswith("lightning.") for callback in added)
    known = (*LOGGED, *(LOGGED_IN_VALIDATION if has_validation else ()))
    for callback in added:
        for refused, reason in REFUSED.items():
            if isinstance(callback, refused):
                raise UserError(f"--trainer.callbacks {type(callback).__name__}: {reason}")
        monitor = getattr(callback, "monitor", None)
        if monitor is not None and monitor not in known and not logs_more:
            raise UserError(f"--trainer.callbacks.monitor {monitor}: nothing logs it. Use one of {', '.join(known)}.")
        if isinstance(callback, callbacks.ModelCheckpoint) and run_folder is not None:
            folder = Path(callback.dirpath or run_folder / "callbacks")
            if folder.resolve() == (run_folder / "checkpoints").resolve():
                raise UserError(f"--trainer.callbacks.dirpath {folder} is for the run's own checkpoints. Omit it.")
            callback.dirpath = str(folder)
