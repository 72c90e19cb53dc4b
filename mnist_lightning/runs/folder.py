"""A run's folder, `runs/<name>/version_N`: unique to one run, and locked while that run trains."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mnist_lightning.errors import UserError
from mnist_lightning.files import expanded

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]


def claim_run_folder(root: Path, name: str) -> Path:
    """Creates `root/name/version_N`, where N is one above the highest existing number: `mkdir` succeeds only once."""
    parent = root / name
    parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name[8:]) for path in parent.glob("version_*") if path.name[8:].isdecimal()]
    folder = parent / f"version_{max(numbers, default=-1) + 1}"
    try:
        folder.mkdir()
    except FileExistsError:  # another process was faster
        return claim_run_folder(root, name)
    return folder


def run_name(config: Any) -> str | None:
    """`--run_name`, or the names of all configs, as in `optimized-cpu`; None without either."""
    return config.run_name or "-".join(Path(str(path)).stem for path in config.config or []) or None


def named_checkpoint(config: Any) -> Path | None:
    """The file that `--ckpt_path` names; `last` is the newest `last.ckpt` of the runs of this name, or of all runs."""
    if config.ckpt_path != "last":
        return None if config.ckpt_path is None else Path(expanded(config.ckpt_path))
    root, name = Path(expanded(config.trainer.default_root_dir)), run_name(config) or "*"
    found = [path for path in root.glob(f"{name}/version_*/checkpoints/last.ckpt") if path.is_file()]
    if not found:
        raise UserError(
            f"--ckpt_path last: no run in {root / name} has a checkpoints/last.ckpt. "
            "Omit --ckpt_path to start a run, or name a checkpoint file."
        )
    return max(found, key=lambda path: path.stat().st_mtime)


def remove_unused(folder: Path, took_steps: bool) -> None:
    """Removes the folder of a run that has left nothing but its settings, or a log without a step."""
    names = [path.name for path in folder.rglob("*") if path.is_file()]
    unused = ("config.yaml", ".lock") if took_steps else ("config.yaml", ".lock", "hparams.yaml", "events.out")
    if all(name.startswith(unused) for name in names):
        shutil.rmtree(folder, ignore_errors=True)


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
