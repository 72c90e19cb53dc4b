"""What a training run computes: against a plain PyTorch loop, the published schedule, and itself."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import override

from mnist_lightning.classifier import AnyBatch, DigitClassifier
from mnist_lightning.data.batches import Batch
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.main import main
from mnist_lightning.network import OptimizedNet
from mnist_lightning.recipe import Recipe
from support.runs import PUBLISHED_LEARNING_RATES, Fit, quiet_trainer, read_report, weights

ONE_STEP = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1")


class LossRecorder(DigitClassifier):
    """Computes with PyTorch's own layers in their own memory order, and notes each step's loss."""

    def __init__(self) -> None:
        super().__init__(backend="layers", channels_last=False)
        self.losses: list[float] = []

    @override
    def training_step(self, batch: object, batch_idx: int) -> dict[str, torch.Tensor]:
        outputs = super().training_step(batch, batch_idx)  # type: ignore[arg-type]
        self.losses.append(outputs["loss"].item())
        return outputs


@pytest.mark.parametrize("batch_size", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_the_trainer_equals_a_plain_loop(batch_size: int, mnist_dir: Path) -> None:
    """Same batches, 20 steps: the same losses and weights to the last bit."""
    seed_everything(0, verbose=False)
    module = LossRecorder()
    data = DigitsDataModule(str(mnist_dir), batch_size=batch_size)
    quiet_trainer(max_steps=20, limit_val_batches=0).fit(module, datamodule=data)

    seed_everything(0, verbose=False)
    net = OptimizedNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=20, pct_start=0.2)
    data = DigitsDataModule(str(mnist_dir), batch_size=batch_size)
    data.setup("fit")
    losses = []
    for step, batch in enumerate(data.train_dataloader()):
        if step == 20:
            break
        prepared = data.prepare(batch, augment=True)
        torch.manual_seed(batch.dropout_seed)
        images = (prepared.images - 0.1307) / 0.3081
        loss = F.nll_loss(F.log_softmax(net(images), dim=1), prepared.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step < 19:
            scheduler.step()
        losses.append(loss.item())

    assert module.losses == losses
    for trained, plain in zip(module.net.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(trained, plain)


def test_learning_rates_of_the_published_log() -> None:
    optimizer, schedule = Recipe().build([torch.nn.Parameter(torch.zeros(()))], total_steps=15 * 118)
    assert schedule is not None
    rates = []
    for step in range(1, 15 * 118 + 1):
        optimizer.step()
        schedule.step()
        if step % 118 == 0:
            rates.append(float(schedule.get_last_lr()[0]))
    assert [round(rate, 6) for rate in rates] == PUBLISHED_LEARNING_RATES
    assert rates[-1] == pytest.approx(4e-7)


@pytest.mark.parametrize(
    ("overrides", "num_steps"),
    [
        ([], 6),
        (["--trainer.limit_train_batches", "7"], 14),
        *[(["--trainer.max_steps", str(steps)], steps) for steps in (1, 4, 5)],  # at 5, warm-up is one step
        (["--trainer.accumulate_grad_batches", "2"], 4),
        (["--data.batch_size", "500"], 6),  # three batches, the last one of 437
    ],
)
def test_the_schedule_ends_at_the_last_step(fit: Fit, overrides: list[str], num_steps: int) -> None:
    last = read_report(fit(*overrides))["epochs"][-1]
    assert last["steps"] == num_steps
    assert last["learning_rate"] == pytest.approx(4e-7)


def test_a_constant_rate(fit: Fit) -> None:
    epochs = read_report(fit("--model.schedule", "constant", "--model.max_lr", "0.03"))["epochs"]
    assert [row["learning_rate"] for row in epochs] == [0.03, 0.03]


def are_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


def test_a_run_repeats_bit_for_bit(finished: Path, fit: Fit) -> None:
    first = weights(finished)
    assert are_equal(first, weights(fit()))
    assert are_equal(first, weights(fit("--data.on_device", "true")))
    assert not are_equal(first, weights(fit("--seed_everything", "1")))


def test_a_saved_config_runs_again(fit: Fit) -> None:
    folder = fit("--model.dropout", "0.2", "--seed_everything", "5")
    again = fit(config=str(folder / "config.yaml"))
    assert are_equal(weights(folder), weights(again))
    assert again.parent.name == "offline"


class ImageRecorder(DigitClassifier):
    """Keeps the last batch of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.train_batch: AnyBatch | None = None
        self.val_batch: AnyBatch | None = None

    @override
    def training_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, torch.Tensor]:
        self.train_batch = batch
        return super().training_step(batch, batch_idx)

    @override
    def validation_step(self, batch: AnyBatch, batch_idx: int) -> torch.Tensor:
        self.val_batch = batch
        return super().validation_step(batch, batch_idx)


def test_augmentation_is_for_training_only() -> None:
    data = DigitsDataModule(dataset="offline_digits")
    module = ImageRecorder()
    quiet_trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=1).fit(module, datamodule=data)
    assert isinstance(module.train_batch, Batch)
    assert isinstance(module.val_batch, Batch)
    data = DigitsDataModule(dataset="offline_digits")  # at its first epoch again
    data.setup("fit")
    stored = next(iter(data.test_dataloader()))
    assert torch.equal(module.val_batch.images, stored.images / 255)
    first = next(iter(data.train_dataloader()))
    assert torch.equal(module.train_batch.images, data.prepare(first, augment=True).images)
    assert not torch.equal(module.train_batch.images, data.prepare(first, augment=False).images)


def test_the_fused_layers_learn_what_the_layers_learn(fit: Fit) -> None:
    """Without dropout, whose draws differ, the runs differ by rounding."""
    fused, plain = (
        read_report(fit("--model.backend", backend, "--model.dropout", "0")) for backend in ("fused", "layers")
    )
    for a, b in zip(fused["epochs"], plain["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-3)
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-3)


def test_the_number_of_threads_is_set_and_reported(fit: Fit) -> None:
    assert read_report(fit("--num_threads", "2", *ONE_STEP))["hardware"]["threads"] == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--model.head", "fully_connected", "--model.batch_norm", "false"),
        ("--model.channels_last", "false", "--data.interpolation", "bilinear", "--data.shear_degrees", "5"),
        ("--model.optimizer", "muon", "--model.schedule", "constant"),
        ("--model.nesterov", "true", "--model.schedule", "constant", "--data.scale_percent", "5"),
    ],
)
def test_values_of_the_options_train(options: tuple[str, ...], fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit(*options, *ONE_STEP)
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--trainer.limit_test_batches", "1"])
    output = capfd.readouterr()
    assert re.search(r"accuracy \d+\.\d\d%, loss \d+\.\d{4}", output.out)
    assert output.err == ""
