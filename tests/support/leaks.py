"""Detects what a test leaves running: threads of this process, and processes that it started."""

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

# Child processes inherit this variable, so they are found even after their parent has ended.
os.environ["MNIST_LIGHTNING_TESTS"] = str(os.getpid())
MARKED = f"MNIST_LIGHTNING_TESTS={os.getpid()}".encode()

# These serve all tests of this process, and end with it.
ALLOWED_PROCESSES = {
    "multiprocessing.forkserver": "has imported PyTorch and Lightning for all processes of processes.py",
    "multiprocessing.resource_tracker": "belongs to the fork server",
}
SECONDS_TO_END = 10.0
_REPORTED: set[threading.Thread | int] = set()  # leaks that have failed a test already


@contextmanager
def nothing_left_running() -> Iterator[None]:
    """Fails if the block leaves threads or processes running, and kills those processes.

    Raises:
        pytest.fail.Exception: something is left running; the message names it.
    """
    before = set(threading.enumerate()), _process_ids()
    yield
    if not _left(*before, seconds=0.1):
        return
    # Loader processes end when Lightning's reference cycles are collected; one thread has to be stopped explicitly.
    gc.collect()
    resource_sharer.stop()
    left = _left(*before, SECONDS_TO_END)
    if not left:
        return
    _REPORTED.update(left)
    for key in left:
        if isinstance(key, int):
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(key, signal.SIGKILL)
                os.waitpid(key, 0)
    pytest.fail(f"left running: {'; '.join(left.values())}")


def _left(threads: set[threading.Thread], ids: set[int], seconds: float) -> dict[threading.Thread | int, str]:
    """Threads and process ids, with names, that started after `threads` and `ids` and still run after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        left: dict[threading.Thread | int, str] = {
            thread: f"thread {thread.name}" for thread in threading.enumerate() if thread not in threads | _REPORTED
        }
        left |= {number: name for number in _process_ids() - ids - _REPORTED if (name := _name_of_own(number))}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def _process_ids() -> set[int]:
    """Ids of all processes on this machine; empty without /proc."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}


def _name_of_own(number: int) -> str | None:
    """The command line of a process that this one started; None for other processes, and if it has ended."""
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
    return f"process {number}: {command or 'ended, but not waited for'}"
