"""What becomes of a write of TensorBoard's that fails: its writer works in a thread of its own."""

import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import tensorboard


@contextmanager
def failed_writes_are_raised() -> Iterator[None]:
    """Raises what the writer's thread could not write, and names the file.

    The thread prints a traceback, without the name, and hands the error to the next call that logs; but after the last
    call to none.

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
            error.filename = os.fsdecode(frames[-1].f_locals["filename"])  # the writer has no public name for its file
        failures.append(error)

    threading.excepthook = keep
    try:
        yield
    finally:
        threading.excepthook = before
    if failures:
        raise failures[0]
