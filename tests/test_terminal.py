"""The terminal's content while a command loads, trains and ends."""

import os
import signal
from pathlib import Path

from support.runs import PROJECT
from support.terminal import Terminal

LONG_RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1000", "--trainer.logger", "false"),
    *("--num_threads", "1", "--trainer.log_every_n_steps", "1", "--data.batch_size", "512"),
]


def test_ctrl_c_leaves_no_progress_bar(tmp_path: Path, in_project: None) -> None:
    with Terminal([*LONG_RUN, "--trainer.default_root_dir", str(tmp_path)]) as terminal:
        terminal.wait_for(r"epoch +([2-9]|\d\d+)/1000:[^\r]*\| [1-9]/3 ")
        terminal.press("\x03")
        status = terminal.finish()
        lines = terminal.lines()
    assert status == 128 + signal.SIGINT
    last = tmp_path / "offline" / "version_0" / "checkpoints" / "last.ckpt"
    assert lines[-2:] == [f"ended by Ctrl-C. To resume, repeat the command with --ckpt_path {last}", ""]
    assert not [line for line in lines if "3 [" in line], lines


def test_the_loading_message_comes_before_the_import_of_torch(tmp_path: Path) -> None:
    """Ctrl-C during the import, simulated here by a fake torch, ends the command quietly."""
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
    environment = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"}
    with Terminal(["fit"], environment=environment) as terminal:
        assert terminal.finish() == 130
        assert terminal.lines() == ["Loading PyTorch and Lightning ...", "", "ended by Ctrl-C.", ""]
