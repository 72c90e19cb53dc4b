"""The benchmark: timings in processes that alternate, and the report from their figures."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.speed import epochs, plain_script, scaling
from benchmarks.speed.bare_loop import Loop, Setting
from benchmarks.speed.changes import CHANGES, measure_changes
from benchmarks.speed.epochs import CONTENDERS, FAST, time_epochs
from benchmarks.speed.report import process_table, report_text, trainer_text
from benchmarks.speed.turns import Portion, Run, Turns, close_on_exit
from benchmarks.speed.whole_process import train_plain_script
from mnist_lightning.network import OptimizedNet
from mnist_lightning.runs.record import hardware, versions

PROVENANCE = {"hardware": hardware(), "versions": versions(), "date": "2026-11-23"}


@pytest.fixture
def real_data(mnist_dir: Path, in_project: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_DATA_DIR", str(mnist_dir))


def count(turns: Turns, first: int) -> None:
    turns.take(_numbers(first))


def _numbers(first: int) -> Iterator[Portion]:
    for number in range(first, first + 3):
        print("not to be seen")
        yield {"number": number}


@pytest.mark.slow
def test_runs_take_turns(capfd: pytest.CaptureFixture[str]) -> None:
    runs = [Run(count, (1,)), Run(count, (10,))]
    with close_on_exit(runs):
        taken = [[run.take_turn() for run in runs] for _ in range(3)]
    assert [[portion["number"] for portion in turn] for turn in taken] == [[1, 10], [2, 11], [3, 12]]
    assert all(portion["peak_memory_mib"] > 10 for turn in taken for portion in turn)
    assert not any(run.process.is_alive() for run in runs)
    assert capfd.readouterr().out == ""


def test_the_plain_script_has_the_same_network() -> None:
    plain, ours = plain_script.Net(), OptimizedNet()
    for mine, theirs in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        mine.copy_(theirs)
    images = torch.rand(5, 1, 28, 28)
    torch.testing.assert_close(plain.eval()(images), ours.eval()(images).log_softmax(dim=1))


@pytest.mark.slow
def test_the_loop_without_changes_matches_the_plain_script(real_data: None, mnist_dir: Path) -> None:
    """Weights, order, augmentation and dropout have the same draws, so the loss is the same."""
    (epoch,) = plain_script.train(mnist_dir, num_epochs=1, num_workers=0, seed=3, max_steps=1)
    loop = Loop(CHANGES[0].setting, num_epochs=1, seed=3)
    assert float(next(iter(loop))) == pytest.approx(epoch.train_loss, rel=1e-3)


def test_the_last_changes_have_the_settings_of_fit() -> None:
    assert CHANGES[-2].setting == Setting()
    assert CHANGES[-1].setting == Setting(is_bfloat16=True)


@pytest.mark.slow
def test_epochs_are_timed_in_turns(real_data: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ["plain", "cpu", "bare"]
    monkeypatch.setattr(epochs, "NUM_WARM_UP_EPOCHS", 0)
    figures = time_epochs([contender for contender in CONTENDERS if contender.name in names], 1, 1)
    assert [row["name"] for row in figures] == names
    for row in figures:
        assert len(row["train_seconds"]) == len(row["seconds"]) == 1
        assert 0 < row["train_seconds"][0] < row["seconds"][0]
        assert 0.02 < row["accuracies"][0] < 0.9  # after one step
        assert row["peak_memory_mib"] > 200
    part = {"num_rounds": 1, "max_steps": 1, "contenders": figures, **PROVENANCE}
    (tmp_path / "epochs.json").write_text(json.dumps(part))
    assert "1 (of 118) steps" in report_text(tmp_path)


def test_the_cost_of_the_trainer_is_the_median_of_ratios() -> None:
    contenders = [
        {"name": "cpu", "train_seconds": [1.1, 2.04, 4.12]},
        {"name": "bare", "train_seconds": [1.0, 2.0, 4.0]},
    ]
    text = trainer_text({"num_rounds": 3, "max_steps": 12, "contenders": contenders, **PROVENANCE})
    assert "a step takes 1.03 times as long as in the bare loop" in text


@pytest.mark.slow
def test_the_whole_process_and_the_plain_scripts_seeds(real_data: None, tmp_path: Path) -> None:
    seeds = train_plain_script(tmp_path, num_seeds=2, num_epochs=1, max_steps=1)
    assert [seed["seed"] for seed in seeds] == [0, 1]
    assert seeds[0]["epochs"] != seeds[1]["epochs"]
    assert train_plain_script(tmp_path, num_seeds=2, num_epochs=1, max_steps=1) == seeds  # keeps existing files
    run = FAST.start(num_epochs=1, max_steps=1)
    with close_on_exit(run):
        (portion,) = FAST.take_turn(run)
    assert portion["train_seconds"] < portion["seconds"]
    assert 0.02 < portion["accuracy"] < 0.9  # after two steps


def test_the_ratio_of_whole_processes() -> None:
    seeds = [
        {
            "epochs": [{"epoch": epoch, "val_accuracy": 0.994 if epoch >= first else 0.9} for epoch in range(1, 16)],
            "hardware": {"processor": "a processor"},
            "versions": {"torch": "2.0"},
        }
        for first in (10, 12, 16)
    ]
    contenders = [
        {"name": "plain", "title": "plain", "seconds": [50.0, 60.0, 70.0], "train_seconds": [48.0, 58.0, 68.0]},
        {"name": "plain_2", "title": "slower", "seconds": [70.0, 70.0, 70.0], "train_seconds": [69.0, 69.0, 69.0]},
        {"name": "fast", "title": "fast", "seconds": [50.0, 48.0, 40.0], "train_seconds": [44.0, 43.0, 36.0]},
    ]
    contenders[-1]["accuracies"] = [0.9938, 0.9939, 0.9943]
    text = process_table({"num_rounds": 3, "contenders": contenders, "plain_seeds": seeds, **PROVENANCE})
    assert "12 times an epoch with evaluation | 720 (600–840) |" in text
    assert "| 48 (40–50) | 15.0 (12.0–21.0) |" in text
    assert "first reach 99.4 % in epoch 10, 12, never; the" in text
    assert "runs of `fit` have 99.40 ± 0.03 % (n = 3); they train for 43.0 seconds" in text


@pytest.mark.slow
def test_changes_with_the_same_draws_have_the_same_loss(real_data: None) -> None:
    before, after = measure_changes((CHANGES[1], CHANGES[3]), num_turns=2, num_steps=1)["changes"]  # layers, fused
    assert len(before["step_milliseconds"]) == len(after["step_milliseconds"]) == 1
    assert "same_draws" not in before
    assert after["loss_difference_of_first_step"] < 1e-4  # rounding of PyTorch's batch norm in float32
    assert after["largest_loss_difference"] < 1e-2


@pytest.mark.slow
def test_scaling(real_data: None, tmp_path: Path) -> None:
    run = Run(measure_little, (1,))
    with close_on_exit([run]):
        figures = run.take_turn()
    assert {(point["batch_size"], point["width"]) for point in figures["points"]} == {(512, 2), (64, 1), (512, 1)}
    # Convolutions by hand, forward and backward; the first one needs no gradient of its input.
    weights_and_pixels = [(1620, 28), (2916, 14), (4536, 14), (7056, 7), (2520, 7)]
    by_hand = 3 * sum(2 * weights * side**2 for weights, side in weights_and_pixels) + 2 * 2 * 90 * 28**2
    assert figures["gigaflop_per_image"]["1"] == pytest.approx(by_hand / 1e9)
    (tmp_path / "scaling.json").write_text(json.dumps({**figures, **PROVENANCE}))
    assert "| ×2 |" in report_text(tmp_path)


def measure_little(turns: Turns, num_repeats: int) -> None:
    with pytest.MonkeyPatch.context() as patch:  # this is another process
        for name, value in {"BATCH_SIZES": (64, 512), "WIDTHS": (1, 2), "MIN_IMAGES": 128}.items():
            patch.setattr(scaling, name, value)
        scaling._scaling(turns, num_repeats)
