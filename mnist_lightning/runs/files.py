"""Atomic file writes."""

import os
import secrets
from pathlib import Path


def atomic_write(path: Path, content: str | bytes) -> None:
    """Writes a file atomically: readers see the old content or the new, even after a crash or a power cut.

    With several concurrent writers, the last one wins.

    Raises:
        OSError: the file cannot be written; the old one is unchanged.
    """
    # Unpredictable, so that nobody can plant a link there, and cut to the length that file systems allow.
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:  # x follows no link
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # The error would name the partial file, or no file at all.
            error.filename, error.filename2 = str(path), None
        raise
