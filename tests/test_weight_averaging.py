"""The average of the weights is validated, saved and tested."""

import pytest
import torch

from mnist_lightning.main import main
from support.runs import Fit, last_checkpoint, read_report, weights

# A constant schedule, so that a shorter run equals the beginning of a longer one.
CONSTANT = ("--model.schedule", "constant", "--trainer.max_epochs", "1")


def test_the_average_by_hand(fit: Fit) -> None:
    one, two, three = (weights(fit(*CONSTANT, "--trainer.limit_train_batches", str(steps))) for steps in (1, 2, 3))
    folder = fit(*CONSTANT, "--trainer.limit_train_batches", "3", "--weight_average.decay", "0.5")
    averaged, current = weights(folder), last_checkpoint(folder)["current_model_state"]
    assert averaged.keys() == three.keys()
    for name, value in averaged.items():
        assert torch.equal(current[name], three[name])
        if value.is_floating_point():  # the average starts with the weights after the first step
            torch.testing.assert_close(value, 0.25 * one[name] + 0.25 * two[name] + 0.5 * three[name])


def test_the_average_is_validated_and_tested(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit(*CONSTANT, "--weight_average.decay", "0.9")
    plain = fit(*CONSTANT)
    (row,) = read_report(folder)["epochs"]
    capfd.readouterr()
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")])
    assert f"loss {row['val_loss']:.4f}" in capfd.readouterr().out
    assert row["val_loss"] != read_report(plain)["epochs"][0]["val_loss"]
    assert row["train_loss"] == read_report(plain)["epochs"][0]["train_loss"]


def test_the_test_after_training_uses_the_average(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    folder = fit(*CONSTANT, "--weight_average.decay", "0.9", "--data.validation", "none")
    loss = read_report(folder)["test"]["loss"]
    capfd.readouterr()
    main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")])
    assert f"loss {loss:.4f}" in capfd.readouterr().out
