"""The two checkpoints of a run, `best.ckpt` and `last.ckpt`, and how checkpoints are written and read."""

import io
import os
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mnist_lightning.errors import CheckpointError
from mnist_lightning.files import atomic_write
from mnist_lightning.runs.checkpoint_file import load_checkpoint


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints atomically, and reads only those of tensors and plain values.

    The framework's own writes to the temporary directory and moves the file, which is not atomic between disks.

    Args:
        run_folder: The run's folder, which must exist when a checkpoint is written; None if the command has none.
    """

    def __init__(self, run_folder: Path | None = None) -> None:
        super().__init__()
        self.run_folder = run_folder

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        if self.run_folder is not None:
            self.run_folder.stat()  # raises if it was deleted: else `mkdir` would create a part of it again
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content.getvalue())
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror}). The previous checkpoint is intact. Free some space or "
                "make the folder writable, then resume with --ckpt_path."
            ) from None

    @override
    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch with the best validation metric as `checkpoints/best.ckpt`; idle in a run without validation.

    Args:
        monitor: The metric: the highest `val/accuracy`, or the lowest `val/loss`.
    """

    def __init__(self, monitor: Literal["val/accuracy", "val/loss"] = "val/accuracy") -> None:
        mode = "max" if monitor == "val/accuracy" else "min"
        super().__init__(
            monitor=monitor, mode=mode, filename="best", enable_version_counter=False, save_on_train_epoch_end=True
        )

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not before the first validation, nor for an epoch that --trainer.max_time cut short: a resumed run ends it.
        if self.monitor in trainer.callback_metrics and epoch_ends_after_batch(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score if `best.ckpt` lies in this run's folder, wherever that was moved."""
        best = Path(str(self.dirpath)) / "best.ckpt"
        score = state_dict["best_model_score"]
        if score is None or not best.exists():
            return
        self.best_model_path = self.kth_best_model_path = str(best)
        self.best_model_score = self.kth_value = score
        self.best_k_models = {str(best): score}


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` after each epoch's validation, and when a signal or --trainer.max_time ends a run.

    The framework's own `save_last` writes it only in epochs that are the best so far.

    Args:
        every_n_epochs: Epochs between writes; the last epoch is written too. 0 writes at no epoch's end, only when a
            signal or --trainer.max_time ends the run within an epoch, and as `every_n_train_steps` says.
        every_n_train_steps: Optimizer steps between further writes within epochs; null writes none.
    """

    def __init__(self, every_n_epochs: NonNegativeInt = 1, every_n_train_steps: PositiveInt | None = None) -> None:
        super().__init__(
            filename="last", every_n_epochs=every_n_epochs, enable_version_counter=False, save_on_train_epoch_end=True
        )
        self.every_n_steps = every_n_train_steps
        self._epoch_end: Literal["as usual", "write", "keep"] = "as usual"

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(self.dirpath)) / "last.ckpt"

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_end = "as usual"

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        is_due = (
            self.every_n_steps is not None
            and trainer.global_step % self.every_n_steps == 0
            and has_stepped(trainer, batch_idx)
        )
        if epoch_ends_after_batch(trainer):
            self._epoch_end = "write" if is_due else "as usual"
        elif trainer.fit_loop.done:
            # --trainer.max_time ends the run inside an epoch: a resumed run takes the batches that are left.
            self._epoch_end = "keep"
            trainer.save_checkpoint(self.path)
        elif is_due:
            trainer.save_checkpoint(self.path)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        is_due = self._every_n_epochs > 0 and is_last_epoch(trainer)
        if self._epoch_end == "write" or (self._epoch_end == "as usual" and is_due):
            trainer.save_checkpoint(self.path)
        elif self._epoch_end == "as usual":
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stateless: each write replaces the file."""


def epoch_ends_after_batch(trainer: Trainer) -> bool:
    """Whether the epoch ends after the current batch.

    No checkpoint may be written between the batch and the epoch's end: a run that resumes from it would skip the
    epoch's validation and its row in the report.
    """
    return trainer.is_last_batch or has_all_steps(trainer)


def is_last_epoch(trainer: Trainer) -> bool:
    """Whether the run ends after the current epoch."""
    return trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs or has_all_steps(trainer)


def has_stepped(trainer: Trainer, batch_idx: int) -> bool:
    """Whether the optimizer has used all gradients: a checkpoint does not hold those that accumulate."""
    return trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0


def has_all_steps(trainer: Trainer) -> bool:
    """Whether --trainer.max_steps is reached."""
    return trainer.global_step == trainer.max_steps
