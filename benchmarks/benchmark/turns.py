"""Processes that compute in alternation, so that the machine's noise affects all of them equally.

Each run is a sequence of portions of work, such as epochs. It sleeps until its turn before each portion.
"""

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

SECONDS_TO_END = 10
# What the command line sets before torch is imported: see `mnist_lightning/__main__.py`.
ENVIRONMENT_OF_FIT = {"GOMP_SPINCOUNT": "1000"}

Portion = dict[str, Any]  # figures of one turn: seconds, losses, ...


def log(line: str) -> None:
    """Prints a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


class Turns:
    """A run's connection to the process that assigns the turns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def wait(self) -> None:
        """Sleeps until it is this run's turn."""
        self._connection.recv()

    def end(self, portion: Portion) -> None:
        """Ends the turn and sends its figures."""
        self._connection.send({"peak_memory_mib": peak_memory_mib(), **portion})

    def take(self, portions: Iterable[Portion]) -> None:
        """Computes one of `portions` per turn."""
        iterator = iter(portions)
        while True:
            self.wait()
            portion = next(iterator, None)
            if portion is None:
                return
            self.end(portion)


Work = Callable[..., None]  # takes Turns and further arguments


class Run:
    """A process that computes `work(turns, *args)`.

    Args:
        name: For messages.
        work: A function at a module's top level.
        args: Its arguments after the turns.
        num_threads: Threads of the process; None keeps PyTorch's default.
        environment: Environment variables that the process has in addition.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        args: Sequence[Any] = (),
        num_threads: int | None = None,
        environment: Mapping[str, str] = ENVIRONMENT_OF_FIT,
    ) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_end, work, args, num_threads))
        with patch.dict(os.environ, environment):
            self.process.start()
        child_end.close()

    def start_turn(self) -> None:
        """Starts the next portion."""
        self._connection.send("go")

    def finish_turn(self) -> Portion:
        """Waits for the end of the portion and returns its figures.

        Raises:
            RuntimeError: the process ended.
        """
        try:
            portion: Portion = self._connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(
                f"the run of {self.name} ended early, with status {self.process.exitcode}; see its message above"
            ) from None
        return portion

    def take_turn(self) -> Portion:
        """Computes the next portion."""
        self.start_turn()
        return self.finish_turn()

    def close(self) -> None:
        """Ends the run: closing the connection ends a waiting process; a process that computes is killed."""
        self._connection.close()
        self.process.join(SECONDS_TO_END)
        self.process.kill()
        self.process.join()


@contextmanager
def close_on_exit(runs: Iterable[Run]) -> Iterator[None]:
    """Closes all runs when the block ends, also after an error."""
    try:
        yield
    finally:
        for run in runs:
            run.close()


def _serve(connection: Connection, work: Work, args: Sequence[Any], num_threads: int | None) -> None:
    import torch  # here, so that the processes load it in parallel

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # only the parent prints
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    with suppress(EOFError):  # the parent closed the connection
        work(Turns(connection), *args)


def peak_memory_mib() -> float:
    """Peak memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return to_mib(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def to_mib(max_rss: int) -> float:
    """Converts getrusage's `ru_maxrss` to MiB; it is in bytes on macOS and in KiB elsewhere."""
    return max_rss / (2**20 if sys.platform == "darwin" else 1024)
