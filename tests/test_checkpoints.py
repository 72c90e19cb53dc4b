"""Untrusted checkpoints: no code in them runs, and invalid files are refused with one clear error."""

import os
import pickle
import shutil
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning.classifier import DigitClassifier
from mnist_lightning.errors import CheckpointError
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_classifier
from mnist_lightning.runs.checkpoint_file import load_checkpoint
from support.damage import damage_checkpoint
from support.runs import Fit, read_report

COMMANDS = ("fit", "validate", "test", "predict")
OFFLINE = ("--config", "configs/offline.yaml")


class Planted:
    """An object whose unpickling creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


@pytest.fixture
def checkpoint(finished: Path) -> Path:
    return finished / "checkpoints" / "last.ckpt"


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
    assert "is not a valid checkpoint" in refusal(command, path, capfd)


def test_damage_anywhere_is_found(checkpoint: Path, tmp_path: Path) -> None:
    damage = damage_checkpoint(Path(shutil.copy(checkpoint, tmp_path)), num_times=100, seed=0)
    assert damage.num_refused > 90


def rewritten(
    path: Path, change: Callable[[bytes], bytes] = lambda pickled: pickled, compression: int = zipfile.ZIP_STORED
) -> None:
    """Rewrites a checkpoint's archive with a changed pickle, or compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, change(content) if name.endswith("data.pkl") else content)


def test_compressed_checkpoints_are_refused_before_decompression(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.ckpt"
    torch.save(load_checkpoint(checkpoint) | {"more": torch.zeros(2**24)}, path)  # 64 MiB
    rewritten(path, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=r"is not a valid checkpoint.*compressed"):
            load_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size
    finally:
        tracemalloc.stop()


def _larger_than_its_file(content: bytes) -> bytes:
    """Declares a size of 1 GiB for each member of the archive, without compression."""
    changed, place = bytearray(content), 0
    while (place := content.find(b"PK\1\2", place + 1)) >= 0:
        struct.pack_into("<II", changed, place + 20, 2**30, 2**30)
    return bytes(changed)


def test_members_larger_than_the_file_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "large.ckpt"
    path.write_bytes(_larger_than_its_file(checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match="is not a valid checkpoint"):
        load_checkpoint(path)


def _lists(depth: int) -> list[Any]:
    """Nested lists of twice the same list."""
    value: list[Any] = [0]
    for _ in range(depth):
        value = [value, value]
    return value


class Hidden:
    """An object that unpickles to an OrderedDict whose method `items` is replaced by a number."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def __reduce__(self) -> tuple[type, tuple[()], dict[str, int], None, Iterator[tuple[str, Any]]]:
        return OrderedDict, (), {"items": 3}, None, iter(self.content.items())


class Zeros:
    """An object of a few bytes that unpickles to 64 MiB of zeros."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (2**26,)


# Each needs far more memory than its file's size, or is not a plain tensor on the CPU; torch loads all of them.
GREEDY = {
    "a view of 2**40 numbers": torch.zeros(1).expand(2**40),
    "a view of 2**62 numbers": torch.zeros(1).expand(2**62),
    "2**40 lists": _lists(40),
    "zeros that are made when they are loaded": Zeros(),
    "a tensor without numbers": torch.empty(3, device="meta"),
    "a sparse tensor": torch.eye(3).to_sparse(),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize("content", GREEDY.values(), ids=GREEDY.keys())
def test_content_that_needs_more_memory_than_the_file_is_refused(
    content: object, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "greedy.ckpt"
    torch.save(load_checkpoint(checkpoint) | {"more": content}, path)
    with pytest.raises(CheckpointError, match="is not a valid checkpoint"):
        load_checkpoint(path)


def test_a_recursive_list_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    value: list[Any] = []
    value.append(value)
    torch.save(load_checkpoint(checkpoint) | {"more": value}, tmp_path / "endless.ckpt")
    with pytest.raises(CheckpointError, match="is not a valid checkpoint"):
        load_checkpoint(tmp_path / "endless.ckpt")


def test_a_storage_smaller_than_declared_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.ckpt"
    torch.save(load_checkpoint(checkpoint) | {"more": torch.zeros(1003)}, path)
    number = b"M" + struct.pack("<H", 1003)
    rewritten(path, lambda pickled: pickled.replace(number, b"J" + struct.pack("<i", 2**26)))
    with pytest.raises(CheckpointError, match="is not a valid checkpoint"):
        load_checkpoint(path)


def test_a_dictionary_with_overridden_methods_is_read_as_a_plain_one(checkpoint: Path, tmp_path: Path) -> None:
    content = load_checkpoint(checkpoint)
    torch.save(content | {"state_dict": Hidden(content["state_dict"])}, tmp_path / "hidden.ckpt")
    found = load_checkpoint(tmp_path / "hidden.ckpt")["state_dict"]
    torch.testing.assert_close(dict(found.items()), content["state_dict"], rtol=0, atol=0)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):  # reading them would never end
        with pytest.raises(CheckpointError, match="not a regular file"):
            load_checkpoint(path)


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
        main([command, "--ckpt_path", str(checkpoint), "--model.channels", "[9,18,18,28,28]"])
    error = capfd.readouterr().err
    assert (
        "note: --model.channels [9, 18, 18, 28, 28]: the checkpoint was trained with [10, 18, 18, 28, 28]; using the"
        in error
    )
    assert "its weights do not fit the network of these settings. Omit --config and the options --model" in error


def test_the_end_of_training_is_always_saved(fit: Fit) -> None:
    folder = fit("--trainer.max_epochs", "3", "--last_checkpoint.every_n_epochs", "2", "--data.validation", "none")
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == read_report(folder)["epochs"][-1]["steps"]
    stopped = fit("--early_stopping.stopping_threshold", "0", "--last_checkpoint.every_n_epochs", "2")
    content = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == read_report(stopped)["epochs"][-1]["steps"]


def test_a_run_on_hard_images_is_evaluated_on_other_images(fit: Fit, capfd: pytest.CaptureFixture[str]) -> None:
    """The losses in its checkpoint are those of its own training images."""
    folder = fit("--data.hard_fraction", "0.5", "--data.validation", "none")
    last = str(folder / "checkpoints" / "last.ckpt")
    main(["validate", "--ckpt_path", last, "--data.validation", "holdout", "--data.num_holdout", "100"])
    assert "100 held-out training images: accuracy" in capfd.readouterr().out


def test_the_former_factor_of_the_channels(checkpoint: Path, tmp_path: Path) -> None:
    wide = DigitClassifier(channels=(20, 36, 36, 56, 56))
    content = torch.load(checkpoint, weights_only=True)
    del content["hyper_parameters"]["channels"]
    content["hyper_parameters"]["width"] = 2
    torch.save(content | {"state_dict": wide.state_dict()}, tmp_path / "old.ckpt")
    loaded = load_classifier(tmp_path / "old.ckpt")
    assert loaded.hparams["channels"] == (20, 36, 36, 56, 56)
