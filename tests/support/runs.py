"""Starts runs for tests, and reads their files."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from mnist_lightning.runs.checkpoint import load_checkpoint
from support import processes

PROJECT = Path(__file__).parents[2]
Fit = Callable[..., Path]
SHORT_RUN = ["fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "2"]
# From the original's log, after each epoch.
PUBLISHED_LEARNING_RATES = [
    *(0.028123, 0.076246, 0.100000, 0.098267, 0.093246, 0.085277, 0.074904, 0.062834),
    *(0.049889, 0.036952, 0.024904, 0.014567, 0.006644, 0.001676, 0.000000),
]


def contents(folder: Path) -> dict[str, bytes]:
    """Contents of all files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """The content of a run's `last.ckpt`."""
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")


def weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a run's `last.ckpt`."""
    state: dict[str, Tensor] = last_checkpoint(folder)["state_dict"]
    return state


def quiet_trainer(**settings: object) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,  # type: ignore[arg-type]
    )


def run_ranks(num_ranks: int, root: Path, *args: str) -> list[str]:
    """Runs a command in several ranks to its end; returns the output of each rank."""
    ranks = processes.start_ranks(num_ranks, [*args, "--trainer.default_root_dir", str(root)], root / "log")
    statuses = [processes.end(rank) for rank in ranks]
    outputs = [(root / f"log.{number}").read_text() for number in range(num_ranks)]
    assert statuses == [os.EX_OK] * num_ranks, outputs
    return outputs
