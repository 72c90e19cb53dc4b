"""A run's folder, `runs/<name>/version_N`: unique to one run, and locked while that run trains."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lightning.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]


def claim_run_folder(root: Path, name: str) -> Path:
    """Creates `root/name/version_N`, where N is one above the highest existing number, and returns its path.

    Safe with concurrent processes: `mkdir` succeeds in only one of them.
    """
    parent = root / name
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    number = max(taken, default=-1) + 1
    while True:
        folder = parent / f"version_{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Locks a run's folder against other training processes until the block or this process ends.

    Args:
        folder: the folder; None locks nothing.

    Raises:
        UserError: another process trains in the folder, or the folder is not writable.
    """
    if folder is None or fcntl is None:
        yield
        return
    try:
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}). Make it writable, or omit --ckpt_path to start a new run."
        ) from None
    with file:
        try:
            # Not `flock`: forked loader processes would inherit that lock, and can outlive this process by seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise UserError(
                    f"--ckpt_path: another process is training the run in {folder}. Wait until it ends, or omit "
                    "--ckpt_path to start a new run."
                ) from None
            # Any other error: the file system does not support locks.
        for partial in (folder / "checkpoints").glob(".*.partial"):
            partial.unlink(missing_ok=True)  # left by a killed process
        yield
