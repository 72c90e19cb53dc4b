"""Error handling for TensorBoard's event files, which a separate thread writes."""

import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import tensorboard


@contextmanager
def raise_failed_writes() -> Iterator[None]:
    """Raises the writer thread's errors when the block ends, with the name of the file.

    TensorBoard would print a traceback without the file's name, and raise the error at the next logging call only.

    Raises:
        OSError: an event could not be written.
    """
    failures: list[OSError] = []
    before = threading.excepthook

    def keep(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        frames = [frame for frame, _ in traceback.walk_tb(args.exc_traceback)]
        package = tensorboard.__file__.removesuffix("__init__.py")
        if not isinstance(error, OSError) or not frames[-1].f_code.co_filename.startswith(package):
            before(args)
            return
        if error.filename is None:
            error.filename = os.fsdecode(frames[-1].f_locals["filename"])  # not public
        failures.append(error)

    threading.excepthook = keep
    try:
        yield
    finally:
        threading.excepthook = before
    if failures:
        raise failures[0]
