"""Runs that are killed, ended by a signal, or meet a full disk. `make soak` kills many more."""

import os
import re
import signal
from pathlib import Path

import pytest

from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support import processes
from support.kills import survive_kills
from support.runs import Fit, read_report

RUN = ["fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000", "--trainer.logger", "false"]


@pytest.mark.slow
def test_a_run_survives_kills_at_any_moment(tmp_path: Path, in_project: None) -> None:
    kills = survive_kills(tmp_path, num_kills=2, kills_per_run=2, seed=0)
    assert kills.num_kills_inside_a_write > 0
    assert kills.num_runs_that_ended_the_same == kills.num_runs == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_cleanly(number: signal.Signals, tmp_path: Path, in_project: None) -> None:
    command = [*RUN, "--trainer.default_root_dir", str(tmp_path)]
    process = processes.start(command, tmp_path / "log")
    folder = tmp_path / "offline" / "version_0"
    processes.wait_until(lambda: not process.is_alive() or (folder / "report.json").exists())
    assert process.pid is not None
    os.kill(process.pid, number)
    assert processes.end(process) == 128 + number
    report = read_report(folder)
    assert report["status"] == f"interrupted by {number.name}"
    assert len(report["epochs"]) >= 1
    checkpoint = load_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] >= report["epochs"][-1]["steps"]
    assert f"--ckpt_path {folder / 'checkpoints' / 'last.ckpt'}" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path: Path, in_project: None) -> None:
    log = tmp_path / "log"
    command = [*RUN, "--trainer.default_root_dir", str(tmp_path), "--trainer.max_epochs", "2"]
    processes.end(processes.start([*command, "--early_stopping.stopping_threshold", "0"], log))  # after an epoch
    last = tmp_path / "offline" / "version_0" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    process = processes.start([*command, "--ckpt_path", "last"], log, max_file_bytes=len(before) // 2)
    assert processes.end(process) == 2
    error = log.read_text().split("error: ")[1]
    assert re.match(rf"{last.parent}/\w+.ckpt cannot be written \(File too large\).* Free some space", error)
    assert "Traceback" not in log.read_text()
    assert last.read_bytes() == before
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.slow
def test_a_full_disk_during_an_event_write(tmp_path: Path, in_project: None) -> None:
    """TensorBoard's writer thread would print a traceback without the file's name."""
    command = ["fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000"]
    command += ["--trainer.limit_train_batches", "2", "--trainer.default_root_dir", str(tmp_path)]
    process = processes.start(command, tmp_path / "log", max_file_bytes=300_000)
    assert processes.end(process) == 2
    printed = (tmp_path / "log").read_text()
    events = rf"{tmp_path}/offline/version_0/events\.out\.tfevents\.\S+"
    assert re.search(
        rf"^error: {events} cannot be written \(File too large\)\. Free some space\.$", printed, re.MULTILINE
    )
    assert "Traceback" not in printed


@pytest.mark.slow
@pytest.mark.parametrize(("form", "suffix"), [("weights", "ckpt"), ("torch", "pt2")])
def test_a_full_disk_during_an_export(form: str, suffix: str, fit: Fit, tmp_path: Path) -> None:
    command = ["export", "--ckpt_path", str(fit("--trainer.logger", "false") / "checkpoints" / "last.ckpt")]
    output = tmp_path / f"exported.{suffix}"
    command += ["--format", form, "--output", str(output)]
    process = processes.start(command, tmp_path / "log", max_file_bytes=20_000)
    process.join()
    assert process.exitcode == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith(f"error: --output {output} cannot be written (File too large)")
    assert {path.name for path in tmp_path.iterdir()} == {"log", "runs"}
