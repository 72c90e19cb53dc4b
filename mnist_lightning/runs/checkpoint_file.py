"""Reads a checkpoint's file: only tensors and plain values, and nothing in it can run."""

import errno
import io
import math
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mnist_lightning.errors import CheckpointError
from mnist_lightning.shipped import find_file

NAME_ANOTHER = "Name a .ckpt file that `fit` wrote."


# What the pickle in a checkpoint names.
MAY_BE_CALLED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2"
    r"|torch (BFloat16|Half|Float|Double|ComplexFloat|ComplexDouble|Byte|Char|Short|Int|Long|Bool)Storage"
)


MAX_GROWTH = 2  # of the content over its file: what two names share counts twice


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU; only tensors and plain values, so nothing in it can run.

    Takes memory of a few times the file's size, whatever the file says.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint of this project, or its weights are not finite.
    """
    path = Path(path)
    try:
        checkpoint = _read(Path(find_file(str(path))))
    except FileNotFoundError:
        raise CheckpointError(
            f"--ckpt_path {path}: there is no such file. Name a checkpoint that exists, "
            "such as runs/optimized/version_0/checkpoints/best.ckpt."
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f"--ckpt_path {path} is a directory. Name the checkpoint file in it.") from None
    except OSError as error:
        raise CheckpointError(
            f"--ckpt_path {path} cannot be read ({error.strerror or error}). Name another file."
        ) from None
    except Exception:  # a damaged file can make the archive's and the pickle's readers raise anything
        # Not chained: the loader's text tells how to load the file regardless, which could run code in it.
        raise CheckpointError(
            f"--ckpt_path {path} is not a whole checkpoint: it is damaged, compressed, of another kind, or holds more "
            f"than tensors and plain values. {NAME_ANOTHER}"
        ) from None
    lacks = [
        name
        for name in ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(name), dict)
    ]
    if lacks:
        raise CheckpointError(
            f"--ckpt_path {path} was not written by this project: it lacks {', '.join(lacks)}. {NAME_ANOTHER}"
        )
    for name, weights in checkpoint["state_dict"].items():
        if not isinstance(weights, Tensor) or not isinstance(name, str):
            raise CheckpointError(f"--ckpt_path {path}: {name!r} in its state_dict is no tensor. {NAME_ANOTHER}")
    if (bad := first_not_finite(checkpoint["state_dict"])) is not None:
        raise CheckpointError(
            f"--ckpt_path {path}: its weights {bad} are not finite numbers, and predict nothing. Name a checkpoint of "
            "a run whose loss stayed finite."
        )
    whole: dict[str, Any] = checkpoint
    return whole


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor, of any shape, that holds infinity or NaN; None if none does."""
    return next((name for name, values in tensors.items() if not values.isfinite().all()), None)


def _read(path: Path) -> Any:
    """What a file holds, as nothing but dictionaries, lists, tuples, tensors on the CPU and plain values.

    Raises:
        Exception: it cannot be read, or holds anything else.
    """
    if not path.is_file() and not path.is_dir() and path.exists():  # a pipe and /dev/zero have no end
        raise OSError(errno.ESPIPE, "it is no regular file")
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        content = torch.load(_verified(file, num_bytes), map_location="cpu", weights_only=True)
    return _plain(content, [MAX_GROWTH * num_bytes])


def _verified(file: BinaryIO, num_bytes: int) -> io.BytesIO:
    """The archive anew, of members whose checksums were verified: `torch.load` looks at none, nor at where they begin.

    Raises:
        BadZipFile: a checksum is wrong, the file is no archive, or it holds what `torch.save` does not write.
    """
    verified = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(verified, "w") as copy:
        members = archive.infolist()
        if len({member.filename for member in members}) != len(members):
            raise zipfile.BadZipFile("two members of one name")
        # Looked at before anything is read: a megabyte of deflated zeros is a gigabyte.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise zipfile.BadZipFile("a compressed member")
        if sum(member.file_size for member in members) > num_bytes:
            raise zipfile.BadZipFile("members larger than the file")
        for member in members:
            content = archive.read(member)
            if member.filename.lower().endswith(".pkl"):  # torch looks its members up whatever their case
                _check_calls(content)
            copy.writestr(member.filename, content)
    verified.seek(0)
    return verified


def _check_calls(pickled: bytes) -> None:
    """Checks that loading this builds tensors and dictionaries; torch would also let `bytearray(2**40)` through.

    Raises:
        UnpicklingError: it names anything else.
    """
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and not MAY_BE_CALLED.fullmatch(str(argument)):
            raise pickle.UnpicklingError(argument)


def _plain(value: Any, room: list[int]) -> Any:
    """A copy that shares nothing, in the plain types: a dictionary of another type may hide one of its own methods.

    Args:
        value: what was loaded.
        room: one number, the bytes that may still be copied; a value that is no tensor counts as one.

    Raises:
        UnpicklingError: it holds anything else, or more than there is room for.
    """
    # A tensor can have 2**40 numbers that all lie in the same four bytes, and a list as many that are the same list.
    room[0] -= math.prod(value.shape) * value.element_size() if isinstance(value, Tensor) else 1
    if room[0] < 0:
        raise pickle.UnpicklingError("more than the file has room for")
    match value:
        case Tensor():
            return value.detach().clone()
        case dict():
            return {_plain(key, room): _plain(part, room) for key, part in dict.items(value)}
        case list():
            return [_plain(part, room) for part in value]
        case tuple():
            return tuple(_plain(part, room) for part in value)
        case str() | int() | float() | None:
            return value
    raise pickle.UnpicklingError(type(value).__name__)
