"""Runs in processes of their own that compute only when it is their turn, so that a noisy machine hits all alike.

A run goes through portions of work, such as epochs. Before each it waits for its turn; the rest of the time it sleeps.
"""

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SECONDS_TO_END = 10

Portion = dict[str, Any]  # what a run tells of a turn: seconds, losses, ...


class Turns:
    """A run's end of the line to the process that calls the turns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def wait(self) -> None:
        """Sleeps until it is this run's turn."""
        self._connection.recv()

    def end(self, portion: Portion) -> None:
        """Ends the turn, and tells what it took and brought."""
        self._connection.send({"peak_memory_mib": peak_memory_mib(), **portion})

    def take(self, portions: Iterable[Portion]) -> None:
        """Computes one of `portions` a turn."""
        iterator = iter(portions)
        while True:
            self.wait()
            portion = next(iterator, None)
            if portion is None:
                return
            self.end(portion)


Work = Callable[..., None]  # takes Turns, and then arguments of its own


class Run:
    """A process that computes `work(turns, *args)`.

    Args:
        name: For messages.
        work: A function at a module's top level.
        args: What it takes after the turns.
        num_threads: Threads of the process; None leaves it to PyTorch.
    """

    def __init__(self, name: str, work: Work, args: Sequence[Any] = (), num_threads: int | None = None) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_end, work, args, num_threads))
        self.process.start()
        child_end.close()

    def start_turn(self) -> None:
        """Lets the run compute its next portion."""
        self._connection.send("go")

    def finish_turn(self) -> Portion:
        """Waits for the portion's end.

        Raises:
            RuntimeError: the run has ended.
        """
        try:
            portion: Portion = self._connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"the run of {self.name} ended early, with status {self.process.exitcode}; its own message is above"
            ) from None
        return portion

    def take_turn(self) -> Portion:
        """Computes the next portion."""
        self.start_turn()
        return self.finish_turn()

    def close(self) -> None:
        """Ends the run: one that waits for its turn finds the line closed, one that computes is killed."""
        self._connection.close()
        self.process.join(SECONDS_TO_END)
        self.process.kill()
        self.process.join()


@contextmanager
def ended_together(runs: Iterable[Run]) -> Iterator[None]:
    """Ends all runs when the block ends, whatever happens in it."""
    try:
        yield
    finally:
        for run in runs:
            run.close()


def _serve(connection: Connection, work: Work, args: Sequence[Any], num_threads: int | None) -> None:
    import torch  # here, so that the children load it side by side

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the parent alone reports
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    with suppress(EOFError):  # the line is closed: nobody waits for more
        work(Turns(connection), *args)


def peak_memory_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return in_mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def in_mib(max_rss: int) -> float:
    """A figure of getrusage: in KiB, but for macOS, where it is in bytes."""
    return max_rss / (2**20 if sys.platform == "darwin" else 1024)
