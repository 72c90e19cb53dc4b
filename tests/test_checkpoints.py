"""Checkpoints from elsewhere: nothing in them runs, and what is none is refused with one clear error."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import PROJECT
from damage import damage_checkpoint

from mnist_lightning.checkpoints import load_checkpoint
from mnist_lightning.cli import main
from mnist_lightning.errors import CheckpointError
from mnist_lightning.trained import load_datamodule

COMMANDS = ("fit", "validate", "test", "predict")
OFFLINE = ("--config", "configs/offline.yaml")


class Planted:
    """What pickle loads by making a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        short = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2")
        main(["fit", *OFFLINE, *short, "--trainer.default_root_dir", str(root)])
    return root / "offline" / "version_0" / "checkpoints" / "last.ckpt"


def refusal(command: str, path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    runs = path.parent / "runs"
    with pytest.raises(SystemExit, match="2"):
        main([command, *OFFLINE, "--trainer.default_root_dir", str(runs), "--ckpt_path", str(path)])
    assert not runs.exists()
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert str(path) in error
    return error


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_checkpoint_does_not_run(
    kind: str, command: str, checkpoint: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    trace, path = tmp_path / "trace", tmp_path / "planted.ckpt"
    content = torch.load(checkpoint, weights_only=True) | {"planted": Planted(trace)}
    if kind == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    assert "holds more than tensors" in refusal(command, path, capfd)
    assert not trace.exists()
    if kind == "torch":
        torch.load(path, weights_only=False)
        assert trace.exists(), "it would have run"


def _truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def _one_bit_flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", [_truncated, _one_bit_flipped, lambda _: b"", lambda _: b"not a checkpoint\n"])
def test_a_damaged_checkpoint(
    damage: Callable[[bytes], bytes],
    command: str,
    checkpoint: Path,
    tmp_path: Path,
    in_project: None,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(damage(checkpoint.read_bytes()))
    assert "is not a whole checkpoint" in refusal(command, path, capfd)


def test_damage_anywhere_is_found(checkpoint: Path) -> None:
    damage = damage_checkpoint(checkpoint, num_times=100, seed=0)
    assert damage.num_refused > 90


@pytest.mark.parametrize("content", [{}, [], torch.zeros(3), {"state_dict": [], "hyper_parameters": 3}])
def test_a_file_of_another_program(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="was not written by this project: it lacks state_dict"):
        load_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_weights_of_another_network(
    command: str, checkpoint: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command, "--ckpt_path", str(checkpoint), "--model.width", "2"])
    error = capfd.readouterr().err
    assert "note: --model.width 2: the checkpoint was trained with 1; what is asked now is done" in error
    assert "the checkpoint holds the weights of another network" in error


def test_weights_that_do_not_fit_their_own_settings(
    checkpoint: Path, tmp_path: Path, in_project: None, capfd: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["net.layers.0.weight"] = torch.zeros(1)
    path = tmp_path / "changed.ckpt"
    torch.save(content, path)
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *OFFLINE, "--ckpt_path", str(path), "--trainer.default_root_dir", str(tmp_path)])
    assert "the checkpoint holds the weights of another network" in capfd.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": "foo"},
        {"validation": "holdout", "num_holdout": -5},
        {"eval_batch_size": 0},
        {"seed": "x"},
        {"on_device": True, "num_workers": 1},
    ],
)
def test_settings_of_the_data_that_are_not_ours(settings: dict[str, object], checkpoint: Path, tmp_path: Path) -> None:
    content = load_checkpoint(checkpoint)
    content["datamodule_hyper_parameters"] |= settings
    path = tmp_path / "odd.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="settings that are not this project's"):
        load_datamodule(path)
    assert load_datamodule(checkpoint).dataset == "offline_digits"
