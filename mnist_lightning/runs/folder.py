"""A run's own folder, `runs/<name>/version_N`, claimed so that no two runs share one, and held while it is trained."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnist_lightning.errors import SettingError

try:
    import fcntl
except ImportError:  # on Windows nothing is held
    fcntl = None  # type: ignore[assignment]


def claim_run_folder(root: Path, name: str) -> Path:
    """Creates and returns `root/name/version_N` with the first N above all that are there.

    Safe among processes: creating a directory either succeeds for one of them or fails.
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
def held(folder: Path | None) -> Iterator[None]:
    """Keeps other processes from training in a run's folder until the block ends, or this process, however it does.

    Args:
        folder: the folder; None holds nothing.

    Raises:
        SettingError: another process trains in it, or it cannot be written.
    """
    if folder is None or fcntl is None:
        yield
        return
    try:
        file = (folder / ".lock").open("a")
    except OSError as error:
        raise SettingError(
            f"{folder} cannot be written ({error.strerror}). Change that, or omit --ckpt_path to start a run elsewhere."
        ) from None
    with file:
        try:
            # Not `flock`: a loader process, which is forked, would hold that too, and can outlive this one by seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise SettingError(
                    f"--ckpt_path: another process is training the run in {folder}. Wait until it has ended, or omit "
                    "--ckpt_path to start a run of its own."
                ) from None
            # else the file system has no locks
        for partial in (folder / "checkpoints").glob(".*.partial"):
            partial.unlink(missing_ok=True)  # of a process that was killed
        yield
