"""Runs that are killed, ended by a signal, or left without room on the disk. `make soak` kills many more."""

import os
import re
import signal
import time
from pathlib import Path

import processes
import pytest
from conftest import read_report
from kills import survive_kills

from mnist_lightning.checkpoints import load_checkpoint

RUN = ["fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000", "--trainer.logger", "false"]


def test_a_run_survives_kills_at_any_moment(tmp_path: Path, in_project: None) -> None:
    kills = survive_kills(tmp_path, num_kills=2, kills_per_run=2, seed=0)
    assert kills.num_kills_inside_a_write > 0
    assert kills.num_runs_that_ended_the_same == kills.num_runs == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_cleanly(number: signal.Signals, tmp_path: Path, in_project: None) -> None:
    command = [*RUN, "--trainer.default_root_dir", str(tmp_path)]
    process = processes.start(command, tmp_path / "log")
    folder = tmp_path / "offline" / "version_0"
    while process.is_alive() and not (folder / "report.json").exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 128 + number
    report = read_report(folder)
    assert report["status"] == f"interrupted by {number.name}"
    assert len(report["epochs"]) >= 1
    checkpoint = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] >= report["epochs"][-1]["steps"]
    assert f"--ckpt_path {folder / 'checkpoints' / 'last.ckpt'}" in (tmp_path / "log").read_text()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, in_project: None) -> None:
    log = tmp_path / "log"
    command = [*RUN, "--trainer.default_root_dir", str(tmp_path), "--trainer.max_epochs", "2"]
    processes.start([*command, "--early_stopping.stopping_threshold", "0"], log).join()  # ends after an epoch
    last = tmp_path / "offline" / "version_0" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    process = processes.start([*command, "--ckpt_path", "last"], log, max_file_bytes=len(before) // 2)
    process.join()
    assert process.exitcode == 2
    error = log.read_text().split("error: ")[1]
    assert re.match(rf"{last.parent}/\w+.ckpt cannot be written \(File too large\).* make room", error)
    assert "Traceback" not in log.read_text()
    assert last.read_bytes() == before
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
