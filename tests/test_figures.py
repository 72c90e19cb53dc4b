"""The numbers a user sees, compared with the logits of all images, including smaller last batches."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (PyTorch's usual name)
from typing_extensions import override

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.cli import CommandLine
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import main
from mnist_lightning.options import load_framework
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import PROJECT, read_report

BATCHES = ["--data.batch_size", "100", "--data.eval_batch_size", "150"]  # last batches of 37 and 60 images


class Seen(NamedTuple):
    """Logits and labels of a training step, before its update."""

    logits: Tensor  # (B, 10)
    labels: Tensor  # (B,)


class StepRecorder(Callback):
    """Keeps each training step's logits and labels, epoch by epoch."""

    epochs: list[list[Seen]] = []  # noqa: RUF012  (the command line creates the instance)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.clear()
        pl_module.register_forward_hook(self._keep)

    def _keep(self, module: LightningModule, args: object, logits: Tensor) -> None:
        self._logits = logits.detach()

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append([])

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.epochs[-1].append(Seen(self._logits, batch.labels))


def figures(seen: list[Seen]) -> tuple[float, float]:
    """Mean loss and accuracy over images, in float64."""
    logits, labels = torch.cat([step.logits for step in seen]).double(), torch.cat([step.labels for step in seen])
    return float(F.cross_entropy(logits, labels)), float((logits.argmax(dim=1) == labels).double().mean())


@torch.inference_mode()
def figures_on_test_images(classifier: DigitClassifier) -> tuple[float, float]:
    data = DigitsDataModule(dataset="offline_digits")
    data.setup("test")
    images, labels = data.images("test")
    return figures([Seen(classifier(images / 255), labels)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        root = tmp_path_factory.mktemp("run")
        main(
            [
                *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "2", *BATCHES),
                *("--trainer.log_every_n_steps", "4", "--trainer.callbacks+=test_figures.StepRecorder"),
                *("--trainer.default_root_dir", str(root)),
            ]
        )
        yield root / "offline" / "version_0"


def test_the_record(run: Path) -> None:
    rows = read_report(run)["epochs"]
    for row, seen in zip(rows, StepRecorder.epochs, strict=True):
        assert len(seen[-1].labels) < len(seen[0].labels)
        assert (row["train_loss"], row["train_accuracy"]) == pytest.approx(figures(seen), abs=1e-6)
    last = rows[-1]
    expected = figures_on_test_images(load_classifier(run / "checkpoints" / "last.ckpt"))
    assert (last["val_loss"], last["val_accuracy"]) == pytest.approx(expected, abs=1e-6)


def test_tensorboard(run: Path) -> None:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()

    def points(loss: str, accuracy: str) -> dict[int, tuple[float, float]]:
        losses, accuracies = events.Scalars(loss), events.Scalars(accuracy)
        return {a.step: (a.value, b.value) for a, b in zip(losses, accuracies, strict=True)}

    by_step, by_epoch = (points(f"{group}/train_loss", f"{group}/train_accuracy") for group in ("by_step", "by_epoch"))
    step = 0
    for epoch, seen in enumerate(StepRecorder.epochs, start=1):
        assert by_epoch[epoch] == pytest.approx(figures(seen), abs=1e-6)
        for batch in range(1, len(seen) + 1):
            step += 1
            if batch % 4 == 0 or batch == len(seen):  # the figures so far in the epoch
                assert by_step[step] == pytest.approx(figures(seen[:batch]), abs=1e-6)
            else:
                assert step not in by_step
    expected = [(row["val_loss"], row["val_accuracy"]) for row in read_report(run)["epochs"]]
    for found, wanted in zip(points("by_epoch/val_loss", "by_epoch/val_accuracy").values(), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("subcommand", "stage"), [("test", "test"), ("validate", "val")])
def test_evaluation(
    subcommand: str, stage: str, run: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "checkpoints" / "last.ckpt"
    with warnings.catch_warnings():
        load_framework()
        found = CommandLine([subcommand, "--ckpt_path", str(checkpoint), *BATCHES[2:]]).trainer.callback_metrics
    loss, accuracy = figures_on_test_images(load_classifier(checkpoint))
    assert float(found[f"{stage}/loss"]) == pytest.approx(loss, abs=1e-6)
    assert float(found[f"{stage}/accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert f"accuracy {accuracy:.2%}, loss {loss:.4f}" in capfd.readouterr().out
