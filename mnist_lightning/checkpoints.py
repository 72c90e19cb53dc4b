"""The two checkpoints of a run, `best.ckpt` and `last.ckpt`, and how one is read."""

import pickle
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from typing_extensions import override

from mnist_lightning.errors import CheckpointError


class BestCheckpoint(ModelCheckpoint):
    """Keeps the epoch with the best validation figure as `checkpoints/best.ckpt`; idle in a run without validation.

    Args:
        monitor: The figure to go by: the highest `val/accuracy`, or the lowest `val/loss`.
    """

    def __init__(self, monitor: Literal["val/accuracy", "val/loss"] = "val/accuracy") -> None:
        mode = "max" if monitor == "val/accuracy" else "min"
        super().__init__(monitor=monitor, mode=mode, filename="best", save_on_train_epoch_end=False)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit":
            super().on_validation_end(trainer, pl_module)


class LastCheckpoint(ModelCheckpoint):
    """Writes `checkpoints/last.ckpt` at the end of each epoch, after validation.

    The framework's own `save_last` writes it only in epochs that are the best so far.

    Args:
        every_n_epochs: Epochs from one write to the next; 0 writes none.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(
            filename="last", every_n_epochs=every_n_epochs, enable_version_counter=False, save_on_train_epoch_end=True
        )


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU; only tensors and plain values, so nothing in it can run.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint of this project.
    """
    path = Path(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"--ckpt_path {path}: there is no such file. Name a checkpoint that exists, "
            "such as runs/optimized/version_0/checkpoints/best.ckpt."
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f"--ckpt_path {path} is a directory. Name the checkpoint file in it.") from None
    except OSError as error:
        raise CheckpointError(f"--ckpt_path {path} cannot be read ({error.strerror}). Name another file.") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, UnicodeDecodeError):
        # Not chained: the loader's text tells how to load the file regardless, which could run code in it.
        raise CheckpointError(
            f"--ckpt_path {path} is not a whole checkpoint: it is damaged, of another kind, or holds more than "
            "tensors and plain values. Name a .ckpt file that `fit` wrote."
        ) from None
    wanted = {"state_dict", "hyper_parameters", "datamodule_hyper_parameters"}
    if not isinstance(checkpoint, dict) or not wanted <= checkpoint.keys():
        raise CheckpointError(
            f"--ckpt_path {path} was not written by this project: it lacks "
            f"{', '.join(sorted(wanted - set(checkpoint)))}. Name a .ckpt file that `fit` wrote."
        )
    return checkpoint
