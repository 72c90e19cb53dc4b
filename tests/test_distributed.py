"""Runs with several processes on one machine, with gloo."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mnist_lightning.main import main
from support import processes
from support.runs import PROJECT, SHORT_RUN, Fit, last_checkpoint, read_report, run_ranks, weights

# Beside other work, one thread each.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def test_two_ranks_train_together(tmp_path: Path, in_project: None) -> None:
    outputs = run_ranks(2, tmp_path, *SHORT_RUN)
    (folder,) = tmp_path.glob("*/version_*")
    report = read_report(folder)
    assert report["num_processes"] == 2
    assert [epoch["steps"] for epoch in report["epochs"]] == [12, 24]  # 1,437 images, 2 × 64 a step
    assert report["epochs"][-1]["learning_rate"] == pytest.approx(4e-7)
    assert "epoch  2/2" in outputs[0]
    assert outputs[1] == ""
    assert len(list(folder.glob("events*"))) == 1


@pytest.mark.slow
def test_two_nodes_under_torchrun_compute_the_same(tmp_path: Path, in_project: None) -> None:
    run_ranks(2, tmp_path / "ranks", *SHORT_RUN)
    port = processes.free_port()
    nodes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(node)),
                *("--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(port)),
                *("-m", "mnist_lightning", *SHORT_RUN, "--trainer.default_root_dir", str(tmp_path / "nodes")),
                *("--trainer.strategy", "ddp", "--trainer.num_nodes", "2", "--trainer.devices", "1"),
            ],
            env=ENVIRONMENT,
        )
        for node in range(2)
    ]
    assert [node.wait(120) for node in nodes] == [os.EX_OK, os.EX_OK]
    (ranks,), (nodes_folder,) = ((tmp_path / name).glob("*/version_*") for name in ("ranks", "nodes"))
    torch.testing.assert_close(weights(nodes_folder), weights(ranks), rtol=0, atol=0)


@pytest.mark.slow
def test_the_frameworks_own_launcher(tmp_path: Path, in_project: None) -> None:
    command = [sys.executable, "-m", "mnist_lightning", *SHORT_RUN, "--trainer.default_root_dir", str(tmp_path)]
    command += ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
    subprocess.run(command, env=ENVIRONMENT, cwd=PROJECT, check=True, timeout=120)
    (folder,) = tmp_path.glob("*/version_*")
    assert read_report(folder)["num_processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_accuracy_is_exact_for_any_number_of_ranks(
    num_ranks: int, fit: Fit, mnist_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """10,000 images, which three ranks cannot share evenly."""
    arguments = (
        "--trainer.limit_train_batches",
        "30",
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_test_batches",
        "1",
    )
    folder = fit(*arguments, "--data.data_dir", str(mnist_dir), config="fast")
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
    (one,), (two,) = ((tmp_path / name).glob("*/version_*") for name in ("one", "two"))
    for found, wanted in zip(read_report(two)["epochs"], read_report(one)["epochs"], strict=True):
        assert found["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-5)
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_the_run_resumes(tmp_path: Path, in_project: None) -> None:
    options = ["--trainer.max_epochs", "6", "--data.hard_fraction", "0.5"]
    run_ranks(2, tmp_path / "whole", *SHORT_RUN, *options)
    args = [*SHORT_RUN, *options, "--trainer.default_root_dir", str(tmp_path / "killed")]
    ranks = processes.start_ranks(2, args, tmp_path / "log")
    last = tmp_path / "killed" / "offline" / "version_0" / "checkpoints" / "last.ckpt"
    processes.wait_until(lambda: last.exists() or not all(rank.is_alive() for rank in ranks))
    ranks[1].kill()
    assert processes.end(ranks[0]) == 1
    output = (tmp_path / "log.0").read_text()
    assert "error: another process of this run has ended" in output
    assert "Traceback" not in output
    run_ranks(2, tmp_path / "killed", *args, "--ckpt_path", "last")
    torch.testing.assert_close(
        weights(last.parent.parent), weights(tmp_path / "whole" / "offline" / "version_0"), rtol=0, atol=0
    )
    assert read_report(last.parent.parent)["num_processes"] == 2
    folders = (last.parent.parent, tmp_path / "whole" / "offline" / "version_0")
    losses = [last_checkpoint(folder)["DigitsDataModule"]["losses"] for folder in folders]
    assert losses[0].equal(losses[1])
    assert losses[0].min() > 0


@pytest.mark.slow
def test_a_run_resumes_only_with_the_same_number_of_processes(
    fit: Fit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = fit("--early_stopping.stopping_threshold", "0")
    args = [*SHORT_RUN, "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]
    ranks = processes.start_ranks(2, args, tmp_path / "log")
    assert [processes.end(rank) for rank in ranks] == [2, 2]
    assert "started with 1 processes and cannot continue with 2" in (tmp_path / "log.0").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_one_rank_ends_all_and_the_run_resumes(signalled: int, tmp_path: Path, in_project: None) -> None:
    options = ["--trainer.max_epochs", "20", "--trainer.log_every_n_steps", "5"]
    run_ranks(2, tmp_path / "whole", *SHORT_RUN, *options)
    args = [*SHORT_RUN, *options, "--trainer.default_root_dir", str(tmp_path / "stopped")]
    ranks = processes.start_ranks(2, args, tmp_path / "log")
    stopped, whole = (tmp_path / name / "offline" / "version_0" for name in ("stopped", "whole"))
    last = stopped / "checkpoints" / "last.ckpt"
    processes.wait_until(lambda: last.exists() or not all(rank.is_alive() for rank in ranks))
    ranks[signalled].terminate()
    assert [processes.end(rank) for rank in ranks] == [128 + signal.SIGTERM] * 2
    assert "Traceback" not in (tmp_path / "log.0").read_text() + (tmp_path / "log.1").read_text()
    assert last_checkpoint(stopped)["global_step"] < 20 * 12
    run_ranks(2, tmp_path / "stopped", *args, "--ckpt_path", "last")
    torch.testing.assert_close(weights(stopped), weights(whole), rtol=0, atol=0)
