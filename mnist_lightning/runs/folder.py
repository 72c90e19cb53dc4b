"""A run's folder, `runs/<name>/version_N`: unique to one run, and locked while that run trains."""

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
    numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    folder = parent / f"version_{max(numbers, default=-1) + 1}"
    try:
        folder.mkdir()
    except FileExistsError:  # another process was faster
        return claim_run_folder(root, name)
    return folder


def newest_last_checkpoint(root: Path, run_name: str) -> Path:
    """The newest `last.ckpt` of the runs of this name; `*` matches every name."""
    found = [path for path in root.glob(f"{run_name}/version_*/checkpoints/last.ckpt") if path.is_file()]
    if not found:
        raise UserError(
            f"--ckpt_path last: no run in {root / run_name} has a checkpoints/last.ckpt. "
            "Omit --ckpt_path to start a run, or name a checkpoint file."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def run_folder_of(last_checkpoint: Path) -> Path:
    """The folder of the run whose `checkpoints/last.ckpt` this is."""
    folder = last_checkpoint.parent.parent
    if last_checkpoint.name != "last.ckpt" or not (folder / "config.yaml").is_file() or not last_checkpoint.is_file():
        raise UserError(
            f"--ckpt_path {last_checkpoint}: `fit` resumes a run from the checkpoints/last.ckpt in its folder, beside "
            "its config.yaml. Name that file, or `last` for the newest run of these configs; omit --ckpt_path to "
            "start a new run."
        )
    return folder


@contextmanager
def locked(folder: Path, advice: str = "omit --ckpt_path to start a new run") -> Iterator[None]:
    """Locks a folder against other processes until the block or this process ends, and removes their partial files."""
    with (folder / ".lock").open("a") as file:
        try:
            # Not `flock`: processes that this one starts would inherit that lock, and can outlive it by seconds.
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise UserError(f"another process is training in {folder}. Wait until it ends, or {advice}.") from None
        except OSError:
            pass  # the file system does not support locks
        for partial in folder.rglob(".*.partial"):
            partial.unlink(missing_ok=True)  # left by a killed process
        yield
