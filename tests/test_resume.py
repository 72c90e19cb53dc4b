"""A run that is resumed from the end of its last epoch ends like one that nothing interrupted, bit for bit."""

import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from mnist_lightning.main import main
from mnist_lightning.runs.folder import named_checkpoint
from support.kills import assert_same_run, signal_at
from support.runs import PROJECT, last_checkpoint, read_report

RUN = [
    *("fit", "--config", "configs/offline.yaml", "--trainer.max_epochs", "3", "--trainer.limit_train_batches", "4"),
    *("--trainer.logger", "false"),
]  # 3 epochs of 4 steps, with augmentation and dropout


class FastAverage(EMAWeightAveraging):
    """The framework's average of the weights, as a user adds it, with a decay that shows after a few steps."""

    def __init__(self) -> None:
        super().__init__(decay=0.5)


def run(root: Path, *args: str) -> Path:
    main([*RUN, "--trainer.default_root_dir", str(root), *args])
    return max(root.glob("*/version_*"))


def interrupted_run(root: Path, *args: str, step: int = 6) -> Path:
    """A run that SIGTERM ends in this step."""
    with pytest.raises(SystemExit, match="143"):
        run(root, *args, *signal_at("on_before_backward", step, signal.SIGTERM))
    return max(root.glob("*/version_*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run; tests must not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        return run(tmp_path_factory.mktemp("whole"))


def resume_and_compare(tmp_path: Path, *options: str, step: int = 6, callbacks: str = "null") -> Path:
    """Compares a run of these options with one that is interrupted and resumed; returns the latter's folder."""
    with_callbacks = () if callbacks == "null" else ("--trainer.callbacks", callbacks)
    expected = run(tmp_path / "whole", *options, *with_callbacks)
    folder = interrupted_run(tmp_path / "part", *options, *with_callbacks, step=step)
    # The run's own config would interrupt it again.
    assert run(tmp_path / "part", *options, "--ckpt_path", "last", "--trainer.callbacks", callbacks) == folder
    assert_same_run(folder, expected)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("--data.validation", "none", "--model.test_time_augmentation", "true"),
        ("--trainer.max_steps", "10"),  # ends within an epoch
        ("--model.optimizer", "muon"),
        ("--trainer.accumulate_grad_batches", "3", "--trainer.gradient_clip_val", "0.1"),
    ],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    options: tuple[str, ...], tmp_path: Path, in_project: None
) -> None:
    resume_and_compare(tmp_path, *options)


def test_a_run_that_prefers_hard_images(tmp_path: Path, in_project: None) -> None:
    folder = resume_and_compare(tmp_path, "--data.hard_fraction", "0.5", step=10)  # in the third epoch
    losses = last_checkpoint(folder)["callbacks"]["HardImages"]["losses"]
    assert int((losses > 0).sum()) == 4 * 64  # of the first epoch's four steps


def test_an_average_of_the_weights(tmp_path: Path, in_project: None) -> None:
    folder = resume_and_compare(tmp_path, callbacks="test_resume.FastAverage")
    content = last_checkpoint(folder)
    assert not torch.equal(*(content[key]["net.layers.0.weight"] for key in ("state_dict", "current_model_state")))


def test_resuming_a_finished_run_changes_nothing(whole: Path, tmp_path: Path, in_project: None) -> None:
    folder = shutil.copytree(whole, tmp_path / "offline" / "version_0")
    assert run(tmp_path, "--ckpt_path", "last") == folder
    assert_same_run(folder, whole)


def test_a_runs_own_config_takes_the_place_of_others(whole: Path, tmp_path: Path, in_project: None) -> None:
    """Also in another place, without any other option."""
    folder = interrupted_run(tmp_path)
    moved = folder.rename(tmp_path / "elsewhere")
    last = str(moved / "checkpoints" / "last.ckpt")
    main(["fit", "--config", "configs/fast.yaml", "--ckpt_path", last, "--trainer.callbacks", "null"])
    assert_same_run(moved, whole)
    assert list((tmp_path / "offline").iterdir()) == []
    assert read_report(moved)["resumed_after"] == [4]


def test_a_callback_added_with_plus_is_there_once(tmp_path: Path, in_project: None) -> None:
    stop = ("--early_stopping.stopping_threshold", "0")
    added = ("--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    folder = run(tmp_path, *added, *stop)
    assert len(read_report(folder)["epochs"]) == 1
    run(tmp_path, *added, "--ckpt_path", "last", "--early_stopping.stopping_threshold", "null")
    assert len(read_report(folder)["epochs"]) == 3


def test_a_constant_rate_can_be_trained_for_longer(tmp_path: Path, in_project: None) -> None:
    constant = ("--model.schedule", "constant")
    folder = run(tmp_path / "part", *constant, "--trainer.max_epochs", "1")
    run(tmp_path / "part", "--ckpt_path", "last", "--trainer.max_epochs", "3")
    expected = run(tmp_path / "whole", *constant)
    for found, wanted in zip(read_report(folder)["epochs"], read_report(expected)["epochs"], strict=True):
        assert found | {"seconds": 0} == wanted | {"seconds": 0}


@pytest.mark.parametrize(
    ("option", "value", "started"),
    [
        ("seed_everything", "3", "0"),
        ("trainer.max_epochs", "9", "3"),  # the one-cycle schedule has an end
        ("trainer.gradient_clip_val", "1", "null"),
    ],
)
def test_an_option_that_would_change_the_result_is_refused(
    option: str,
    value: str,
    started: str,
    whole: Path,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    last = whole / "checkpoints" / "last.ckpt"
    with pytest.raises(SystemExit, match="2"):
        main(["fit", "--ckpt_path", str(last), f"--{option}", value])
    (error,) = capfd.readouterr().err.splitlines()
    assert error.startswith(f"error: --{option} {value}")
    assert f"with --ckpt_path {last}: the run was started with {started}" in error


def test_only_a_runs_last_checkpoint_is_resumed(
    whole: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*RUN, "--ckpt_path", str(whole / "checkpoints" / "best.ckpt")])
    assert "`fit` resumes a run from the checkpoints/last.ckpt in its folder" in capfd.readouterr().err


def test_last_means_the_newest_run_of_the_config(tmp_path: Path) -> None:
    names = ("a/version_0", "a/version_1", "b/version_0")
    checkpoints = [tmp_path / name / "checkpoints" / "last.ckpt" for name in names]
    for age, path in zip((200, 300, 100), checkpoints, strict=True):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    trainer = SimpleNamespace(default_root_dir=str(tmp_path))
    for config, newest in ((["configs/a.yaml"], checkpoints[0]), (None, checkpoints[2])):
        options = SimpleNamespace(ckpt_path="last", run_name=None, config=config, trainer=trainer)
        assert named_checkpoint(options) == newest


def test_last_without_a_run_is_an_error(tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*RUN, "--trainer.default_root_dir", str(tmp_path), "--ckpt_path", "last"])
    assert capfd.readouterr().err.startswith("error: --ckpt_path last: no run in")
    assert list(tmp_path.iterdir()) == []
