"""A run's own folder, `runs/<name>/version_N`, claimed so that no two runs share one."""

from pathlib import Path


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
