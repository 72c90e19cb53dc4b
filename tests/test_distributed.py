"""Runs with several processes on one machine, with gloo."""

import os
import signal
from pathlib import Path

import pytest
import torch

from mnist_lightning.main import main
from support import processes
from support.kills import assert_same_run
from support.runs import SHORT_RUN, Fit, last_checkpoint, read_report, run_ranks, weights

QUIET = ("--trainer.logger", "false")


def folder_of(root: Path) -> Path:
    return root / "offline" / "version_0"


def test_two_ranks_train_together(tmp_path: Path, in_project: None) -> None:
    outputs = run_ranks(2, tmp_path, *SHORT_RUN)
    report = read_report(folder_of(tmp_path))
    assert report["num_processes"] == 2
    assert [epoch["steps"] for epoch in report["epochs"]] == [12, 24]  # 1,437 images, 2 × 64 a step
    assert report["epochs"][-1]["learning_rate"] == pytest.approx(4e-7)
    assert "epoch  2/2" in outputs[0]
    assert outputs[1] == ""
    assert len(list(folder_of(tmp_path).glob("events*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_accuracy_is_exact_for_any_number_of_ranks(
    num_ranks: int, fit: Fit, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """10,000 images, which three ranks cannot share evenly."""
    short = ("--trainer.limit_train_batches", "30", "--trainer.max_epochs", "2", "--trainer.limit_test_batches", "1")
    folder = fit(*short, "--data.data_dir", str(mnist_dir), config="fast")
    args = ["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--data.data_dir", str(mnist_dir)]
    capfd.readouterr()
    main(args)
    alone = capfd.readouterr().out
    output, *others = run_ranks(num_ranks, tmp_path, *args)
    assert output.partition(", loss ")[0] == alone.partition(", loss ")[0]
    assert "MNIST, test images: accuracy" in output
    assert others == [""] * (num_ranks - 1)


@pytest.mark.slow
def test_two_ranks_at_half_the_batch_follow_one_process(tmp_path: Path, in_project: None) -> None:
    """Without batch norm, whose statistics each rank computes on its own share of the images."""
    plain = ["--model.network", "baseline", "--model.max_lr", "0.01", "--trainer.limit_train_batches", "4"]
    plain += ["--data.rotation_degrees", "0", "--data.translation_percent", "0"]
    run_ranks(1, tmp_path / "one", *SHORT_RUN, *plain, "--data.batch_size", "64")
    run_ranks(2, tmp_path / "two", *SHORT_RUN, *plain, "--data.batch_size", "32")
    one, two = (folder_of(tmp_path / name) for name in ("one", "two"))
    for found, wanted in zip(read_report(two)["epochs"], read_report(one)["epochs"], strict=True):
        assert found["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-5)
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["one is killed", "one gets SIGTERM", "all get SIGTERM"])
def test_ranks_that_are_ended_resume(how: str, tmp_path: Path, in_project: None) -> None:
    options = [*SHORT_RUN, *QUIET, "--trainer.max_epochs", "10", "--data.hard_fraction", "0.5"]
    run_ranks(2, tmp_path / "whole", *options)
    args = [*options, "--trainer.default_root_dir", str(tmp_path / "ended")]
    ranks = processes.start_ranks(2, args, tmp_path / "log")
    whole, ended = (folder_of(tmp_path / name) for name in ("whole", "ended"))
    last = ended / "checkpoints" / "last.ckpt"
    processes.wait_until(lambda: last.exists() or not all(rank.is_alive() for rank in ranks))
    ended_by = signal.SIGKILL if how == "one is killed" else signal.SIGTERM
    for rank in ranks if how == "all get SIGTERM" else ranks[1:]:
        assert rank.pid is not None
        os.kill(rank.pid, ended_by)
    first, second = (processes.end(rank) for rank in ranks)
    assert second == (-signal.SIGKILL if how == "one is killed" else 128 + signal.SIGTERM)
    output = (tmp_path / "log.0").read_text()
    if how == "all get SIGTERM":
        assert first in (2, 128 + signal.SIGTERM)  # whichever comes first: the signal, or the other's end
    else:
        assert first == 2
        assert "error: another process of this run has ended" in output
    assert "Traceback" not in output
    assert last_checkpoint(ended)["global_step"] < 10 * 12
    run_ranks(2, tmp_path / "ended", *options, "--ckpt_path", "last")
    assert_same_run(ended, whole)
    assert int((last_checkpoint(ended)["callbacks"]["HardImages"]["losses"] > 0).sum()) == 1437


@pytest.mark.slow
def test_a_run_resumes_only_with_the_same_number_of_processes(fit: Fit, tmp_path: Path) -> None:
    folder = fit("--early_stopping.stopping_threshold", "0")
    args = ["fit", *QUIET, "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]
    ranks = processes.start_ranks(2, args, tmp_path / "log")
    assert [processes.end(rank) for rank in ranks] == [2, 2]
    assert "started with 1 processes and cannot continue with 2" in (tmp_path / "log.0").read_text()
