"""The two checkpoints of a run, `best.ckpt` and `last.ckpt`, and how checkpoints are written and read."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mnist_lightning.errors import DivergenceError
from mnist_lightning.files import atomic_write
from mnist_lightning.runs.checkpoint import load_checkpoint

SMALLER_STEPS = "Use a smaller --model.max_lr, or --trainer.gradient_clip_val 1."
OF_AN_EPOCH: Any = {"save_on_train_epoch_end": True, "enable_version_counter": False}  # always the same file


class CheckpointFiles(TorchCheckpointIO):
    """Writes checkpoints atomically, with finite weights only; reads those of tensors and plain values only.

    The framework's own writes to the temporary directory and moves the file, which is not atomic between disks.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        for name, weights in checkpoint["state_dict"].items():
            if not weights.isfinite().all():
                raise DivergenceError(f"{name} is not finite; no checkpoint of it was written. {SMALLER_STEPS}")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(Path(path), content.getvalue())

    @override
    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch with the best validation accuracy as `best.ckpt`; idle in a run without validation."""

    def __init__(self) -> None:
        super().__init__(monitor="val/accuracy", mode="max", filename="best", **OF_AN_EPOCH)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:  # not before the first validation
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the best score if `best.ckpt` lies in this run's folder, wherever that was moved."""
        best, score = Path(str(self.dirpath)) / "best.ckpt", state_dict["best_model_score"]
        if score is not None and best.exists():
            self.best_model_path = self.kth_best_model_path = str(best)
            self.best_model_score = self.kth_value = score
            self.best_k_models = {str(best): score}


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` after each epoch: the file from which a run resumes.

    The framework's own `save_last` writes it only in epochs that are the best so far. At this point the framework
    counts the epoch as processed, so a resumed run starts with the next one.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", **OF_AN_EPOCH)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stateless: each write replaces the file."""
