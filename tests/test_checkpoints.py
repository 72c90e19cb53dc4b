"""Checkpoints from elsewhere: no code in them runs, and what is not a run's own costs one error."""

import os
import pickle
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mnist_lightning.errors import CheckpointError
from mnist_lightning.main import main
from mnist_lightning.runs.checkpoint import load_checkpoint, load_classifier, read_checkpoint
from support.runs import PROJECT

Content = dict[str, Any]
WEIGHT = "net.layers.0.weight"
SHAPE = (10, 1, 3, 3)


@pytest.fixture
def checkpoint(finished: Path) -> Path:
    return finished / "checkpoints" / "last.ckpt"


class Planted:
    """An object whose unpickling creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.trace,)


class Zeros:
    """An object of a few bytes that unpickles to 64 MiB of zeros."""

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return bytearray, (2**26,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_does_not_run(
    save: Callable[[Content, Path], Any], checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "planted.ckpt"
    save(load_checkpoint(checkpoint) | {"planted": Planted(tmp_path / "trace")}, path)
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_checkpoint(path)
    assert not (tmp_path / "trace").exists()
    if zipfile.is_zipfile(path):
        torch.load(path, weights_only=False)
        assert (tmp_path / "trace").exists(), "it would have run"


def _cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def _one_bit_flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut": _cut,
    "one bit flipped": _one_bit_flipped,
    "empty": lambda _: b"",
    "a text": lambda _: b"not a checkpoint\n",
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(
        CheckpointError, match=f"--ckpt_path {path} cannot be used: .*Use a .ckpt file that `fit` wrote"
    ):
        load_checkpoint(path)


def model(**settings: Any) -> Callable[[Content], Any]:
    return lambda content: content["hyper_parameters"].update(settings)


def data(**settings: Any) -> Callable[[Content], Any]:
    return lambda content: content["datamodule_hyper_parameters"].update(settings)


def weight(value: Any) -> Callable[[Content], Any]:
    return lambda content: content["state_dict"].update({WEIGHT: value})


ODD: dict[str, tuple[Callable[[Content], Any], str]] = {
    "settings that are a list": (lambda content: content.update(hyper_parameters=[1]), "AttributeError"),
    "no weights": (lambda content: content.pop("state_dict"), "state_dict"),
    "an unknown data set": (data(dataset="\x1b[2Jfoo\n"), "dataset='.x1b.2Jfoo.n': use one of 'mnist'"),
    "a tensor among the settings": (model(channels=torch.zeros(3)), "TypeError"),
    "settings that exclude each other": (model(optimizer="muon", batch_norm=False), "needs batch norm after each"),
    "a network that is far larger": (model(channels=5 * [10**6]), f"its weights do not fit .*{WEIGHT}"),
    "weights that are a number": (weight(3), "AttributeError"),
    "weights of another shape": (weight(torch.zeros(9, 1, 3, 3)), r"do not fit .*net.layers.0.weight \(\d+, 1, 3, 3\)"),
    "weights that are missing": (lambda content: content["state_dict"].pop(WEIGHT), rf"do not fit .*{WEIGHT}"),
    "weights that are not finite": (weight(torch.full(SHAPE, torch.inf)), "its weights are not finite"),
    # A few bytes that would take terabytes of memory, or 64 MiB.
    "a view of one number": (weight(torch.zeros(1).expand(2**40)), "its weights are larger than the file"),
    "zeros that are made when they are read": (lambda content: content.update(more=Zeros()), "it holds bytearrays"),
}


def odd_copy(checkpoint: Path, folder: Path, change: Callable[[Content], Any]) -> Path:
    """A changed copy of the checkpoint in the folder of a run."""
    path = folder / "version_0" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    shutil.copy(checkpoint.parent.parent / "config.yaml", folder / "version_0")
    content = load_checkpoint(checkpoint)
    change(content)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(("change", "match"), ODD.values(), ids=ODD.keys())
def test_content_that_no_run_writes_is_refused(
    change: Callable[[Content], Any], match: str, checkpoint: Path, tmp_path: Path
) -> None:
    path = odd_copy(checkpoint, tmp_path, change)
    with pytest.raises(CheckpointError, match=f"--ckpt_path {path} cannot be used: .*{match}") as error:
        read_checkpoint(path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("command", ["fit", "test"])
@pytest.mark.parametrize("name", ["no weights", "weights that are not finite"])
def test_a_command_ends_with_one_line(
    name: str, command: str, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = odd_copy(checkpoint, tmp_path, ODD[name][0])
    with pytest.raises(SystemExit, match="2"):
        main([command, "--ckpt_path", str(path), "--trainer.default_root_dir", str(tmp_path)])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: --ckpt_path {path} cannot be used: ")


def test_a_compressed_file_is_refused_before_it_is_unpacked(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(load_checkpoint(checkpoint) | {"more": torch.zeros(2**24)}, tmp_path / "large.ckpt")  # 64 MiB
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(tmp_path / "large.ckpt") as large, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in large.namelist():
            packed.writestr(name, large.read(name))
    assert path.stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="it is compressed"):
            load_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):  # reading the first two would never end
        with pytest.raises(CheckpointError, match="is not a file"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_a_checkpoint_of_an_earlier_version(checkpoint: Path, tmp_path: Path) -> None:
    """It has settings that are gone, and no names of classes."""
    content = load_checkpoint(checkpoint)
    del content["hyper_parameters"]["class_names"]
    content["hyper_parameters"]["gone"] = 3
    content["datamodule_hyper_parameters"]["num_workers"] = 2
    torch.save(content, tmp_path / "old.ckpt")
    images = torch.rand(2, 1, 28, 28)
    assert torch.equal(load_classifier(tmp_path / "old.ckpt")(images), load_classifier(checkpoint)(images))


def test_the_models_that_come_with_the_project() -> None:
    assert read_checkpoint(PROJECT / "models" / "mnist.ckpt").data["dataset"] == "mnist"
