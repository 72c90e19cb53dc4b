"""A run's folder: no run overwrites another's, and one process at a time works in it."""

import re
import shutil
from pathlib import Path

import pytest

from mnist_lightning.main import main
from mnist_lightning.runs.folder import claim_run_folder
from support import processes
from support.runs import Fit, contents, read_report

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--model.schedule", "constant", "--trainer.max_epochs", "1000"),
    *("--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--trainer.logger", "false"),
]


def test_an_earlier_runs_files_are_never_overwritten(finished: Path, fit: Fit, tmp_path: Path) -> None:
    first = shutil.copytree(finished, tmp_path / "runs" / "offline" / "version_0")
    assert fit().name == "version_1"
    assert contents(first) == contents(finished)


def test_a_folder_is_claimed_above_all_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a" / "version_7").mkdir(parents=True)
    (tmp_path / "a" / "version_x").mkdir()
    assert claim_run_folder(tmp_path, "a") == tmp_path / "a" / "version_8"
    assert claim_run_folder(tmp_path, "b") == tmp_path / "b" / "version_0"


def test_one_process_at_a_time_trains_a_run(
    tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [*RUN, "--trainer.default_root_dir", str(tmp_path)]
    folder = tmp_path / "offline" / "version_0"
    checkpoints = folder / "checkpoints"
    first = processes.start(command, tmp_path / "log")
    processes.wait_until(lambda: not first.is_alive() or (checkpoints / "last.ckpt").exists())
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--ckpt_path", "last"])
    assert re.search(rf"error: another process is \w+ in {folder}\. Wait", capfd.readouterr().err)
    assert first.is_alive(), (tmp_path / "log").read_text()
    first.kill()
    processes.end(first)
    (checkpoints / ".last.ckpt.0123456789abcdef.partial").write_bytes(b"half")  # as after a kill during a write
    num_epochs = len(read_report(folder)["epochs"])
    main([*command, "--ckpt_path", "last", "--trainer.max_epochs", str(num_epochs + 2)])
    assert len(read_report(folder)["epochs"]) == num_epochs + 2
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
