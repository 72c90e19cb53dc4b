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

# What the command line sets before torch is imported: see `mnist_lightning/__main__.py`.
ENVIRONMENT_OF_FIT = {"GOMP_SPINCOUNT": "20000"}

Portion = dict[str, Any]  # figures of one turn: seconds, losses, ...
Work = Callable[..., None]  # a function at a module's top level, which takes Turns and further arguments


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
        self.wait()
        for portion in portions:
            self.end(portion)
            self.wait()  # for the next one


class Run:
    """A process that computes `work(turns, *args)`, with additional environment variables."""

    def __init__(self, work: Work, args: Sequence[Any], environment: Mapping[str, str] = ENVIRONMENT_OF_FIT) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(child_end, work, args))
        with patch.dict(os.environ, environment):
            self.process.start()
        child_end.close()

    def start_turn(self) -> None:
        """Starts the next portion."""
        self._connection.send("go")

    def finish_turn(self) -> Portion:
        """Waits for the end of the portion and returns its figures; raises EOFError if the process ended."""
        portion: Portion = self._connection.recv()
        return portion

    def take_turn(self) -> Portion:
        """Computes the next portion."""
        self.start_turn()
        return self.finish_turn()

    def close(self) -> None:
        """Ends the run: closing the connection ends a waiting process; a process that computes is killed."""
        self._connection.close()
        self.process.join(10)  # seconds
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


def _serve(connection: Connection, work: Work, args: Sequence[Any]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # only the parent prints
    with suppress(EOFError):  # the parent closed the connection
        work(Turns(connection), *args)


def peak_memory_mib() -> float:
    """Peak memory of this process so far, in MiB."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    # Not getrusage, which begins with the peak of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
