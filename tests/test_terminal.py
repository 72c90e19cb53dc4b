"""The terminal's content while a command loads, trains and ends."""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.main import main
from support import processes
from support.runs import PROJECT
from support.terminal import Terminal

LONG_RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000", "--trainer.logger", "false"),
    *("--num_threads", "1", "--progress_bar.refresh_rate", "1", "--data.batch_size", "512"),
]
IN_TESTS = {"PYTHONPATH": str(PROJECT / "tests")}


class FailAt(Callback):
    """Fails after a batch of the second epoch."""

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == 1:
            raise UserError("made up")


class InterruptAtStart(Callback):
    """Sends Ctrl-C's signal before the first step."""

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("how", "bar"),
    [
        ("Ctrl-C", "epoch  1/1000:"),
        pytest.param("Ctrl-C twice", "epoch  1/1000:", marks=pytest.mark.slow),
        pytest.param("SIGTERM", "epoch  1/1000:", marks=pytest.mark.slow),
        pytest.param("Ctrl-C", "Epoch 0:", marks=pytest.mark.slow),
    ],
)
def test_an_ended_run_leaves_no_progress_bar(how: str, bar: str, tmp_path: Path, in_project: None) -> None:
    args = [*LONG_RUN, "--trainer.default_root_dir", str(tmp_path)]
    if bar == "Epoch 0:":  # a user's progress bar, which the project does not erase
        args += ["--trainer.callbacks", "TQDMProgressBar"]
    with Terminal(args) as terminal:
        terminal.wait_for(rf"{bar}[^\r]*\| [1-9]/3 ")
        if how == "SIGTERM":
            terminal.process.terminate()
        else:
            terminal.press("\x03")
        if how == "Ctrl-C twice":
            terminal.wait_for(r"a second signal stops at once\)\r\n")
            terminal.press("\x03")
        status = terminal.finish()
        lines = terminal.lines()
    assert status == (128 + signal.SIGTERM if how == "SIGTERM" else 128 + signal.SIGINT)
    assert lines[-1] == ""
    assert terminal.written[-1] in "\r\n"
    assert "stopping soon, with a checkpoint (a second signal stops at once)" in lines
    if how != "Ctrl-C twice":
        assert f"--ckpt_path {tmp_path}/offline/version_0/checkpoints/last.ckpt" in lines[-2] or bar == "Epoch 0:"
    if bar != "Epoch 0:":
        assert not [line for line in lines if "3 [" in line], lines


def test_the_bar_of_a_run_that_resumes_within_an_epoch(tmp_path: Path, in_project: None) -> None:
    run = [
        *LONG_RUN,
        "--trainer.max_epochs",
        "1",
        "--data.batch_size",
        "128",
        "--trainer.default_root_dir",
        str(tmp_path),
    ]
    with pytest.raises(SystemExit):
        main([*run, "--trainer.callbacks", "test_resume.SignalAt", "--trainer.callbacks.step", "3"])  # of 12
    with Terminal([*run, "--ckpt_path", "last"]) as terminal:
        assert terminal.finish() == 0
    assert re.search(r"epoch  1/1:[^\r]*\| [4-9]/12 ", terminal.written)


def test_an_error_starts_on_a_new_line(tmp_path: Path, in_project: None) -> None:
    args = [*LONG_RUN, "--trainer.callbacks", "test_terminal.FailAt", "--trainer.default_root_dir", str(tmp_path)]
    with Terminal(args, columns=120, environment=IN_TESTS) as terminal:
        assert terminal.finish() == 2
        lines = terminal.lines()
    assert lines[-2:] == ["error: made up", ""]
    assert not [line for line in lines if "3 [" in line]


def test_ctrl_c_before_the_first_step(tmp_path: Path, in_project: None) -> None:
    args = [*LONG_RUN, "--trainer.callbacks", "test_terminal.InterruptAtStart"]
    process = processes.start([*args, "--trainer.default_root_dir", str(tmp_path / "runs")], tmp_path / "log")
    assert processes.end(process) == 130
    assert (tmp_path / "log").read_text().endswith("\nended by Ctrl-C\n")
    assert list((tmp_path / "runs").glob("*/version_*")) == []


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_loading_message_comes_before_the_import_of_torch(is_terminal: bool, tmp_path: Path) -> None:
    """Ctrl-C during the import, simulated here by a fake torch, ends the command quietly."""
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"}
    if is_terminal:
        with Terminal(["fit"], environment=environment) as terminal:
            assert terminal.finish() == 130
            assert terminal.lines() == ["Loading PyTorch and Lightning ...", "", "ended by Ctrl-C", ""]
        return
    done = subprocess.run(
        [sys.executable, "-m", "mnist_lightning", "fit"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nended by Ctrl-C\n")


def test_the_installed_command_is_the_same() -> None:
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"mnist_lightning": "mnist_lightning.__main__:main"}
