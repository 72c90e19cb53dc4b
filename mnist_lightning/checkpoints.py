"""The two checkpoints of a run, `best.ckpt` and `last.ckpt`, how they are written, and how one is read."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mnist_lightning.errors import CheckpointError
from mnist_lightning.whole_files import replace_file


class CheckpointFiles(TorchCheckpointIO):
    """Writes each checkpoint whole or not at all, and reads none that holds more than tensors and plain values.

    The framework's own writes into the temporary directory and moves the file, which is no single act between disks.
    """

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content.getvalue())
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be written ({error.strerror}). What was written there before is whole: make room, and "
                f"go on from it with --ckpt_path."
            ) from None

    @override
    def load_checkpoint(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path))


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch with the best validation figure as `checkpoints/best.ckpt`; idle in a run without validation.

    Args:
        monitor: The figure to go by: the highest `val/accuracy`, or the lowest `val/loss`.
    """

    def __init__(self, monitor: Literal["val/accuracy", "val/loss"] = "val/accuracy") -> None:
        mode = "max" if monitor == "val/accuracy" else "min"
        super().__init__(
            monitor=monitor, mode=mode, filename="best", enable_version_counter=False, save_on_train_epoch_end=True
        )

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.monitor in trainer.callback_metrics:  # not before the first validation
            super().on_train_epoch_end(trainer, pl_module)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the best so far if it lies in this run's folder, wherever that was moved; else begins anew."""
        best = Path(str(self.dirpath)) / "best.ckpt"
        score = state_dict["best_model_score"]
        if score is None or not best.exists():
            return
        self.best_model_path = self.kth_best_model_path = str(best)
        self.best_model_score = self.kth_value = score
        self.best_k_models = {str(best): score}


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` at the end of each epoch, after validation, and when a signal ends the run.

    The framework's own `save_last` writes it only in epochs that are the best so far.

    Args:
        every_n_epochs: Epochs from one write to the next; 0 writes none.
        every_n_train_steps: Write in the middle of epochs too, after this many optimizer steps each; null does not.
    """

    def __init__(self, every_n_epochs: NonNegativeInt = 1, every_n_train_steps: PositiveInt | None = None) -> None:
        super().__init__(
            filename="last", every_n_epochs=every_n_epochs, enable_version_counter=False, save_on_train_epoch_end=True
        )
        self.every_n_steps = every_n_train_steps
        self._last_saved_step = 0

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(self.dirpath)) / "last.ckpt"

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if self.every_n_steps is not None and step % self.every_n_steps == 0 and step != self._last_saved_step:
            self._last_saved_step = step  # not once for each batch whose gradients are accumulated
            trainer.save_checkpoint(self.path)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Has nothing to go on with: there is one file, and each write replaces it."""


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU; only tensors and plain values, so nothing in it can run.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint of this project.
    """
    path = Path(path)
    checkpoint: dict[str, Any]
    try:
        checkpoint = torch.load(_verified(path), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"--ckpt_path {path}: there is no such file. Name a checkpoint that exists, "
            "such as runs/optimized/version_0/checkpoints/best.ckpt."
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f"--ckpt_path {path} is a directory. Name the checkpoint file in it.") from None
    except OSError as error:
        raise CheckpointError(f"--ckpt_path {path} cannot be read ({error.strerror}). Name another file.") from None
    except (
        *(zipfile.BadZipFile, zlib.error, struct.error, pickle.UnpicklingError),
        *(RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError),
    ):
        # Not chained: the loader's text tells how to load the file regardless, which could run code in it.
        raise CheckpointError(
            f"--ckpt_path {path} is not a whole checkpoint: it is damaged, of another kind, or holds more than "
            "tensors and plain values. Name a .ckpt file that `fit` wrote."
        ) from None
    lacks = [
        name
        for name in ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(name), dict)
    ]
    if lacks:
        raise CheckpointError(
            f"--ckpt_path {path} was not written by this project: it lacks {', '.join(lacks)}. "
            "Name a .ckpt file that `fit` wrote."
        )
    return checkpoint


def _verified(path: Path) -> io.BytesIO:
    """The archive anew, of members whose checksums were verified: `torch.load` looks at none, nor at where they begin.

    Raises:
        BadZipFile: a checksum is wrong, or the file is no archive.
    """
    verified = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(verified, "w") as copy:
        if len(set(archive.namelist())) != len(archive.namelist()):
            raise zipfile.BadZipFile("two members of one name")
        for member in archive.namelist():
            copy.writestr(member, archive.read(member))
    verified.seek(0)
    return verified
