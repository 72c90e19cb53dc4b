"""Reads a checkpoint file safely: it loads tensors and plain values only, and runs no code."""

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
from mnist_lightning.files import find_file

CHECKPOINT_HINT = "Use a .ckpt file that `fit` wrote."

# The globals that the pickle of a checkpoint refers to.
ALLOWED_GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2"
    r"|torch (BFloat16|Half|Float|Double|ComplexFloat|ComplexDouble|Byte|Char|Short|Int|Long|Bool)Storage"
)

MAX_GROWTH = 2  # loaded bytes per file byte: a tensor that two names share counts twice


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project onto the CPU, without running any code in it.

    Memory use stays within a few times the file's size, even for a malicious file.

    Raises:
        CheckpointError: the file is missing, damaged or not a checkpoint of this project, or its weights are not
            finite.
    """
    path = Path(path)
    try:
        checkpoint = _read(Path(find_file(str(path))))
    except FileNotFoundError:
        raise CheckpointError(
            f"--ckpt_path {path}: no such file. Use a checkpoint that exists, "
            "such as runs/optimized/version_0/checkpoints/best.ckpt."
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f"--ckpt_path {path} is a directory. Use the checkpoint file in it.") from None
    except OSError as error:
        raise CheckpointError(
            f"--ckpt_path {path} cannot be read ({error.strerror or error}). Use another file."
        ) from None
    except Exception:  # on a damaged file, zipfile and pickle can raise anything
        # Not chained: PyTorch's message advises `weights_only=False`, which could run code in the file.
        raise CheckpointError(
            f"--ckpt_path {path} is not a valid checkpoint: it is damaged, compressed, another kind of file, or holds "
            f"more than tensors and plain values. {CHECKPOINT_HINT}"
        ) from None
    if isinstance(checkpoint, dict):  # of a run of Lightning's Trainer with loaders of its own
        checkpoint.setdefault("datamodule_hyper_parameters", {})
    missing = [
        name
        for name in ("state_dict", "hyper_parameters", "datamodule_hyper_parameters")
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(name), dict)
    ]
    if missing:
        raise CheckpointError(
            f"--ckpt_path {path} was not written by this project: it lacks {', '.join(missing)}. {CHECKPOINT_HINT}"
        )
    for name, weights in checkpoint["state_dict"].items():
        if not isinstance(weights, Tensor) or not isinstance(name, str):
            raise CheckpointError(f"--ckpt_path {path}: {name!r} in its state_dict is not a tensor. {CHECKPOINT_HINT}")
    if (bad := first_not_finite(checkpoint["state_dict"])) is not None:
        raise CheckpointError(
            f"--ckpt_path {path}: its weights {bad} are not finite. Use a checkpoint from a run whose loss stayed "
            "finite."
        )
    valid: dict[str, Any] = checkpoint
    return valid


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor, of any shape, with an infinite or NaN value; None if all values are finite."""
    return next((name for name, values in tensors.items() if not values.isfinite().all()), None)


def _read(path: Path) -> Any:
    """The file's content: only dictionaries, lists, tuples, tensors on the CPU and plain values.

    Raises:
        Exception: the file cannot be read, or holds anything else.
    """
    if not path.is_file() and not path.is_dir() and path.exists():  # reading a pipe or /dev/zero would never end
        raise OSError(errno.ESPIPE, "not a regular file")
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        content = torch.load(_verified(file, num_bytes), map_location="cpu", weights_only=True)
    return _plain(content, [MAX_GROWTH * num_bytes])


def _verified(file: BinaryIO, num_bytes: int) -> io.BytesIO:
    """Copies the archive after verifying its checksums and members, which `torch.load` does not check.

    Raises:
        BadZipFile: a checksum is wrong, the file is not an archive, or `torch.save` would not write such a member.
    """
    verified = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(verified, "w") as copy:
        members = archive.infolist()
        if len({member.filename for member in members}) != len(members):
            raise zipfile.BadZipFile("two members of the same name")
        # Checked before reading: one megabyte of deflated zeros expands to a gigabyte.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise zipfile.BadZipFile("a compressed member")
        if sum(member.file_size for member in members) > num_bytes:
            raise zipfile.BadZipFile("members larger than the file")
        for member in members:
            content = archive.read(member)
            if member.filename.lower().endswith(".pkl"):  # torch ignores the case of member names
                _check_calls(content)
            copy.writestr(member.filename, content)
    verified.seek(0)
    return verified


def _check_calls(pickled: bytes) -> None:
    """Checks that the pickle refers to tensors and dictionaries only; torch would also allow `bytearray(2**40)`.

    Raises:
        UnpicklingError: it refers to anything else.
    """
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and not ALLOWED_GLOBALS.fullmatch(str(argument)):
            raise pickle.UnpicklingError(argument)


def _plain(value: Any, room: list[int]) -> Any:
    """A deep copy in plain types that shares no memory; a subclass of dict could override methods.

    Args:
        value: the loaded value.
        room: a list of one number: the bytes that may still be copied; a value that is not a tensor counts as one.

    Raises:
        UnpicklingError: the value holds another type, or needs more room.
    """
    # A stride of 0 makes 2**40 numbers out of four bytes, and a list can contain the same list 2**40 times.
    room[0] -= math.prod(value.shape) * value.element_size() if isinstance(value, Tensor) else 1
    if room[0] < 0:
        raise pickle.UnpicklingError("larger than its file")
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
