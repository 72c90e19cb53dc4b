"""What a test leaves running behind it: threads of this process, and the processes that it has started."""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_sharer
from pathlib import Path

import pytest

# In the environment of all that this process starts, and of what that starts: found after its parent has ended, too.
os.environ["MNIST_LIGHTNING_TESTS"] = str(os.getpid())
MARKED = f"MNIST_LIGHTNING_TESTS={os.getpid()}".encode()

# One of each serves all tests of this process, and ends with it.
ALLOWED_PROCESSES = {
    "multiprocessing.forkserver": "has imported PyTorch and Lightning for all that processes.py starts",
    "multiprocessing.resource_tracker": "comes with it",
}
SECONDS_TO_END = 10.0  # of what has been told to
_NAMED: set[threading.Thread | int] = set()  # what has failed a test already


@contextmanager
def nothing_left_running() -> Iterator[None]:
    """Ends what the block has started and left, and fails.

    Raises:
        pytest.fail.Exception: names each thread and process.
    """
    before = set(threading.enumerate()), _process_ids()
    yield
    if not _left(*before, seconds=0.1):
        return
    # A loader's processes end with the loader, and the framework's objects hold each other; it leaves a thread, too.
    gc.collect()
    resource_sharer.stop()
    left = _left(*before, SECONDS_TO_END)
    if not left:
        return
    _NAMED.update(left)
    for key in left:
        if isinstance(key, int):
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(key, signal.SIGKILL)
                os.waitpid(key, 0)
    pytest.fail(f"left running: {'; '.join(left.values())}")


def _left(threads: set[threading.Thread], ids: set[int], seconds: float) -> dict[threading.Thread | int, str]:
    """What still runs after these seconds and did not run before: threads, ids of processes, with names for them."""
    deadline = time.monotonic() + seconds
    while True:
        left: dict[threading.Thread | int, str] = {
            thread: f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads | _NAMED
        }
        left |= {number: name for number in _process_ids() - ids - _NAMED if (name := _name_of_own(number))}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def _process_ids() -> set[int]:
    """Of all processes of this machine; none where there is no /proc."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}


def _name_of_own(number: int) -> str | None:
    """The command line of a process that this one has started; None if it has ended, or is somebody else's."""
    path = Path(f"/proc/{number}")
    try:
        parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        if parent != os.getpid() and MARKED not in (path / "environ").read_bytes().split(b"\0"):
            return None
        command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    if parent == os.getpid() and any(allowed in command for allowed in ALLOWED_PROCESSES):
        return None
    return f"process {number}: {command or 'ended, and not waited for'}"
