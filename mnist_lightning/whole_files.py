"""Files that are written whole or not at all, whatever happens meanwhile."""

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Writes a file whole: a reader, or a program that is killed here, finds the old one or the new, never half of one.

    The bytes are on the disk before the name is theirs, so that this holds for a power cut too.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
