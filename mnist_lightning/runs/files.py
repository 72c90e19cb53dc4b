"""Files that are written whole or not at all, whatever happens meanwhile."""

import io
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def replace_file(path: Path, content: str | bytes) -> None:
    """Writes a file whole: a reader, or a program that is killed here, finds the old one or the new, never half of one.

    The bytes are on the disk before the name is theirs, so that this holds for a power cut too. Of several writers at
    the same time, one is the last.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    # A name that nobody can know before, and no part of which is too long for the file system.
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
            # A failed write has no name, and the partial file another's.
            error.filename, error.filename2 = str(path), None
        raise


def replace_chart(path: Path, figure: "Figure") -> None:
    """Writes a figure as PNG, whole.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    content = io.BytesIO()
    figure.savefig(content, dpi=120)
    replace_file(path, content.getvalue())
