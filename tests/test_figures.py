"""Every loss and accuracy that a user sees, compared with the logits of all images, including smaller last batches."""

import re
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
from mnist_lightning.data.batches import LabelledImages
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import main
from mnist_lightning.options.messages import load_framework
from mnist_lightning.runs.checkpoint import load_classifier
from support.runs import PROJECT, read_report
from support.terminal import Terminal

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


def test_the_report(run: Path) -> None:
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
    report = read_report(run)["epochs"]
    expected = [(row["val_loss"], row["val_accuracy"]) for row in report]
    for names in (("by_epoch/val_loss", "by_epoch/val_accuracy"), ("val/loss", "val/accuracy")):
        for found, wanted in zip(points(*names).values(), expected, strict=True):
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


def test_the_models_loss_on_mnist(
    mnist_dir: Path,
    mnist: tuple[LabelledImages, LabelledImages],
    trained: DigitClassifier,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    main(
        [
            *("test", "--ckpt_path", "models/mnist.ckpt", "--model.test_time_augmentation", "false"),
            *("--data.data_dir", str(mnist_dir)),
        ]
    )
    images, labels = mnist[1]
    with torch.inference_mode():
        logits = torch.cat([trained(part.float() / 255) for part in images.split(1000)])
    accuracy, loss = (logits.argmax(dim=1) == labels).float().mean(), F.cross_entropy(logits, labels)
    assert f"accuracy {accuracy:.2%}, loss {loss:.4f}\n" in capfd.readouterr().out


def test_the_bar(tmp_path: Path, in_project: None) -> None:
    args = [
        *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "2", *BATCHES),
        *("--progress_bar.refresh_rate", "1", "--num_threads", "1", "--trainer.logger", "false"),
        *("--trainer.default_root_dir", str(tmp_path)),
    ]
    with Terminal(args) as terminal:
        assert terminal.finish() == 0, terminal.written
    rows = read_report(tmp_path / "offline" / "version_0")["epochs"]
    for row in rows:
        pattern = rf"epoch +{row['epoch']}/2:[^\r\n]*\| (\d+)/15 [^\r\n]*loss=([\d.]+), acc=([\d.]+)%, lr="
        bars = [
            (int(step), float(loss), float(accuracy)) for step, loss, accuracy in re.findall(pattern, terminal.written)
        ]
        assert {step for step, _, _ in bars} >= {1, 15}
        assert 0 not in {step for step, _, _ in bars}, "figures of the epoch before"
        assert all(0 <= accuracy <= 100 for _, _, accuracy in bars)
        _, loss, accuracy = next(bar for bar in reversed(bars) if bar[0] == 15)
        assert loss == pytest.approx(row["train_loss"], abs=5e-5)
        assert accuracy == pytest.approx(100 * row["train_accuracy"], abs=5e-3)
