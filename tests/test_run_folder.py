"""A run's folder is locked by one process at a time, and unlocked when the process dies."""

import os
import shutil
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from support import processes
from support.runs import read_report

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000"),
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
]


def command(root: Path, *args: str) -> list[str]:
    return [*RUN, "--trainer.default_root_dir", str(root), *args]


def folder_of(root: Path) -> Path:
    return root / "offline" / "version_0"


def running(root: Path, *args: str) -> BaseProcess:
    """Starts a run and waits for its first report and checkpoint."""
    process = processes.start(command(root, *args), root / "log")
    last = folder_of(root) / "checkpoints" / "last.ckpt"
    processes.wait_until(lambda: not process.is_alive() or last.exists())
    assert process.is_alive(), (root / "log").read_text()
    return process


@pytest.mark.slow
def test_one_process_at_a_time_trains_a_run(tmp_path: Path, in_project: None) -> None:
    first, log = running(tmp_path, "--data.num_workers", "2"), tmp_path / "second.log"
    second = processes.start(command(tmp_path, "--ckpt_path", "last"), log)
    assert processes.end(second) == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"error: --ckpt_path: another process is training the run in {folder_of(tmp_path)}. Wait")
    assert first.is_alive()
    first.kill()
    processes.end(first)
    checkpoints = folder_of(tmp_path) / "checkpoints"
    (checkpoints / ".last.ckpt.0123456789abcdef.partial").write_bytes(b"half")  # as after a kill during a write
    # Immediately, while loader processes of the killed run may still exist.
    third = processes.start(command(tmp_path, "--ckpt_path", "last", "--early_stopping.stopping_threshold", "0"), log)
    assert processes.end(third) == os.EX_OK, log.read_text()
    assert "resumed" in read_report(folder_of(tmp_path))
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_deleted_folder_is_not_created_again(tmp_path: Path, in_project: None) -> None:
    process = running(tmp_path)
    while folder_of(tmp_path).exists():  # the run may write files during the deletion
        shutil.rmtree(folder_of(tmp_path), ignore_errors=True)
    assert_folder_is_gone(process, tmp_path)


def test_ctrl_c_in_a_moved_folder(tmp_path: Path, in_project: None) -> None:
    process = running(tmp_path)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    folder_of(tmp_path).rename(tmp_path / "elsewhere")
    os.kill(process.pid, signal.SIGINT)
    os.kill(process.pid, signal.SIGCONT)
    assert_folder_is_gone(process, tmp_path)


def assert_folder_is_gone(process: BaseProcess, root: Path) -> None:
    assert processes.end(process) == 2
    printed = (root / "log").read_text()
    assert f"error: {folder_of(root)} was deleted or moved" in printed
    assert "Traceback" not in printed
    assert not folder_of(root).exists()
