"""Runs that are killed: real processes, resumed from the end of their last epoch."""

import signal
from pathlib import Path

import pytest

from mnist_lightning.main import main
from support import processes
from support.kills import assert_same_run, signal_at
from support.runs import PROJECT, read_report

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "3"),
    *("--trainer.logger", "false"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        main([*RUN, "--trainer.default_root_dir", str(root)])
    return root / "offline" / "version_0"


@pytest.mark.parametrize(
    ("hook", "occurrence", "num_epochs"),
    [
        ("on_before_backward", 5, 1),  # inside a batch of the second epoch
        ("on_validation_batch_start", 2, 1),
        ("last.ckpt", 3, 2),  # inside its third write
    ],
)
def test_a_killed_run_ends_like_an_uninterrupted_one(
    hook: str, occurrence: int, num_epochs: int, whole: Path, tmp_path: Path, in_project: None
) -> None:
    args = [*RUN, "--trainer.default_root_dir", str(tmp_path)]
    process = processes.start([*args, *signal_at(hook, occurrence, signal.SIGKILL)], tmp_path / "log")
    assert processes.end(process) == -signal.SIGKILL, (tmp_path / "log").read_text()
    main([*args, "--ckpt_path", "last", "--trainer.callbacks", "null"])  # the run's own config kills it again
    folder = tmp_path / "offline" / "version_0"
    assert_same_run(folder, whole)
    assert read_report(folder)["resumed_after"] == [3 * num_epochs]


def test_a_run_that_ends_in_its_first_epoch_leaves_no_folder(tmp_path: Path, in_project: None) -> None:
    args = [*RUN, "--trainer.default_root_dir", str(tmp_path / "runs")]
    process = processes.start([*args, *signal_at("on_before_backward", 2, signal.SIGINT)], tmp_path / "log")
    assert processes.end(process) == 128 + signal.SIGINT
    assert (tmp_path / "log").read_text().splitlines()[-1] == "ended by Ctrl-C."
    assert not (tmp_path / "runs" / "offline" / "version_0").exists()  # nothing to resume from


def test_ctrl_c_ends_an_evaluation(whole: Path, tmp_path: Path) -> None:
    command = ["test", "--ckpt_path", str(whole / "checkpoints" / "last.ckpt")]
    process = processes.start([*command, *signal_at("on_test_batch_start", 1, signal.SIGINT)], tmp_path / "log")
    assert processes.end(process) == 128 + signal.SIGINT
    assert (tmp_path / "log").read_text() == "\nended by Ctrl-C.\n"
