"""What a training run computes: against a plain PyTorch loop, the published schedule, and itself."""

import re
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from lightning.pytorch import seed_everything
from torch.nn import functional as F  # noqa: N812  (the name that all of PyTorch uses)
from torch.optim.lr_scheduler import OneCycleLR
from typing_extensions import override

from mnist_lightning.classifier import AnyBatch, Backend, DigitClassifier
from mnist_lightning.data.batches import Batch
from mnist_lightning.datamodule import DigitsDataModule
from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from mnist_lightning.network import OptimizedNet
from support.runs import PUBLISHED_LEARNING_RATES, Fit, quiet_trainer, read_report, weights

# The original's log: the learning rate after each epoch's last step, of 15 epochs of 118 steps.

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
    module = DigitClassifier()
    module.trainer = type("Plan", (), {"estimated_stepping_batches": 15 * 118})()
    configuration = module.configure_optimizers()
    scheduler = configuration["lr_scheduler"]["scheduler"]  # type: ignore[index,typeddict-item,call-overload]
    rates = []
    for step in range(1, 15 * 118 + 1):
        scheduler.optimizer.step()
        module.lr_scheduler_step(scheduler, None)
        if step % 118 == 0:
            rates.append(scheduler.get_last_lr()[0])
    assert [round(rate, 6) for rate in rates] == PUBLISHED_LEARNING_RATES
    assert rates[-1] == pytest.approx(4e-7)


@pytest.mark.parametrize(
    ("overrides", "num_steps"),
    [
        ([], 6),
        (["--trainer.max_epochs", "5"], 15),
        (["--trainer.limit_train_batches", "7"], 14),
        (["--trainer.max_steps", "4"], 4),
        *[(["--trainer.max_steps", str(steps)], steps) for steps in (1, 2, 5)],  # at 5, warm-up is one step
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


def test_one_cycle_needs_an_end() -> None:
    module = DigitClassifier()
    module.trainer = type("Plan", (), {"estimated_stepping_batches": float("inf")})()
    with pytest.raises(UserError, match=r"--trainer\.max_epochs -1"):
        module.configure_optimizers()


def are_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


def test_a_run_repeats_bit_for_bit_with_any_number_of_workers(finished: Path, fit: Fit) -> None:
    first = weights(finished)
    assert are_equal(first, weights(fit()))
    assert are_equal(first, weights(fit("--data.num_workers", "2")))
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
    """The same draws: the runs differ by rounding."""
    fused, plain = (read_report(fit("--model.backend", backend)) for backend in ("fused", "layers"))
    for a, b in zip(fused["epochs"], plain["epochs"], strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-3)
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-3)


def test_data_on_the_device_gives_the_same_run(finished: Path, fit: Fit) -> None:
    assert are_equal(weights(finished), weights(fit("--data.on_device", "true")))


def test_the_number_of_threads_is_set_and_reported(fit: Fit) -> None:
    assert read_report(fit("--num_threads", "2", *ONE_STEP))["hardware"]["threads"] == 2


def test_a_wider_network_is_rebuilt_from_its_checkpoint(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit("--model.channels", "[20,36,36,56,56]", *ONE_STEP)
    assert read_report(folder)["num_parameters"] > 60_000
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")])
    assert "accuracy" in capfd.readouterr().out


def named_values() -> list[tuple[str, str]]:
    """Each of the model's options that takes one of a few names, or true and false, with each of its values."""
    values = []
    for name, kind in get_type_hints(DigitClassifier.__init__).items():
        if kind is bool or get_origin(kind) is Literal:
            values += [(name, value) for value in (("true", "false") if kind is bool else get_args(kind))]
    return [(name, value) for name, value in values if name != "backend"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", get_args(Backend))
@pytest.mark.parametrize(("name", "value"), named_values())
def test_each_value_of_the_models_options_trains(
    name: str, value: str, backend: str, fit: Fit, capfd: pytest.CaptureFixture[str]
) -> None:
    short = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1")
    small = ("--data.batch_size", "16", "--data.eval_batch_size", "20", "--trainer.logger", "false")
    folder = fit("--model.backend", backend, f"--model.{name}", value, *short, *small)
    assert len(read_report(folder)["epochs"]) == 1
    capfd.readouterr()
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--trainer.limit_test_batches", "1"])
    output = capfd.readouterr()
    assert re.search(r"accuracy \d+\.\d\d%, loss \d+\.\d{4}", output.out)
    assert output.err == ""  # no note that the checkpoint was trained with something else
