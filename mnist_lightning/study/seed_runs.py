"""Runs each seed of a study as `fit` in its own process, on this machine or on a Ray cluster."""

import logging
import multiprocessing
import os
import runpy
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from mnist_lightning.errors import UserError
from mnist_lightning.files import from_json
from mnist_lightning.runs.record import Record

MAX_ERROR_CHARACTERS = 2000
OUTPUT = "output.txt"  # a seed's standard output and error


@dataclass(frozen=True)
class SeedRun:
    """One seed of one variant.

    Args:
        variant: The name of the variant.
        args: The arguments of `fit`.
        seed: The run's seed.
        num_threads: Threads of its process.
    """

    variant: str
    args: tuple[str, ...]
    seed: int
    num_threads: int

    def fit_args(self) -> list[str]:
        """The command line of the run, after the name of the program."""
        options = ("--seed_everything", str(self.seed), "--num_threads", str(self.num_threads))
        return ["fit", *self.args, *options]


class Start(NamedTuple):
    """A seed that has started, and the file of its output."""

    run: SeedRun
    output: Path


class Outcome(NamedTuple):
    """How a seed ended: with its report, or with the last lines of its output."""

    run: SeedRun
    report: Record | None
    error: str


class _Process:
    """A seed in its own process, with its files in a temporary directory."""

    def __init__(self, run: SeedRun) -> None:
        self.run = run
        self._directory = tempfile.TemporaryDirectory(prefix="mnist_lightning_study_")
        self._folder = Path(self._directory.name)
        self.output = self._folder / OUTPUT
        self.output.touch()
        context = multiprocessing.get_context("spawn")
        self.process: BaseProcess = context.Process(target=_fit, args=(run.fit_args(), self._directory.name))
        self.process.start()

    def outcome(self) -> Outcome:
        """Waits for the process to end."""
        self.process.join()
        reports = list(self._folder.glob("seed/version_0/report.json"))
        if self.process.exitcode or not reports:
            printed = self.output.read_text(errors="replace").strip()
            error = f"status {self.process.exitcode}\n{printed[-MAX_ERROR_CHARACTERS:]}"
            return Outcome(self.run, None, error)
        return Outcome(self.run, from_json(Record, reports[0].read_text(encoding="utf-8")), "")

    def close(self) -> None:
        """Kills the process and its children if it still runs, and removes its files."""
        if self.process.is_alive():
            assert self.process.pid is not None
            with suppress(ProcessLookupError):  # it has no process group yet
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
        self.process.join()
        self._directory.cleanup()


def _fit(args: Sequence[str], folder: str) -> None:
    os.setsid()  # its own process group: its children are killed with it, and Ctrl-C reaches only the study
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    output = os.open(f"{folder}/{OUTPUT}", os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    args = [*args, "--trainer.default_root_dir", folder, "--run_name", "seed"]
    sys.argv[1:] = args
    runpy.run_module("mnist_lightning", run_name="__main__", alter_sys=True)


def _end_with_parent(folder: str) -> None:
    """Ends this run and removes its files when the study is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def run_seed(run: SeedRun) -> Outcome:
    """Runs one seed."""
    process = _Process(run)
    try:
        return process.outcome()
    finally:
        process.close()


def run_here(runs: Iterable[SeedRun], num_processes: int) -> Generator[Start | Outcome]:
    """Runs seeds on this machine, `num_processes` at a time; yields when one starts or ends."""
    waiting = list(runs)[::-1]
    running: dict[int, _Process] = {}  # by sentinel, which is ready when the process has ended
    try:
        while waiting or running:
            while waiting and len(running) < num_processes:
                started = _Process(waiting.pop())
                running[started.process.sentinel] = started
                yield Start(started.run, started.output)
            for ready in wait(list(running)):
                ended = running.pop(ready)  # type: ignore[arg-type]
                try:
                    yield ended.outcome()
                finally:
                    ended.close()
    finally:
        for process in running.values():
            process.close()


def run_on_ray(runs: Iterable[SeedRun], num_processes: int, address: str) -> Generator[Outcome]:
    """Runs seeds on a Ray cluster whose machines have this package and the data; yields when one ends.

    Args:
        runs: the seeds; each reserves one CPU of the cluster for each of its threads.
        num_processes: seeds at a time on a cluster that is started here.
        address: `local` starts a cluster on this machine; else the address of a running one, or `auto` to find it.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--ray_address needs Ray: `pip install 'mnist_lightning[ray]'`, or omit it.") from None
    runs = list(runs)
    threads = max((run.num_threads for run in runs), default=1)
    try:
        num_cpus = num_processes * threads if address == "local" else None  # a running cluster has its own
        ray.init(
            address, num_cpus=num_cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--ray_address {address}: {str(error)[:200]}\nUse `local`, or start a cluster.") from None
    try:
        task = ray.remote(run_seed)
        pending = {task.options(num_cpus=run.num_threads, max_retries=0).remote(run): run for run in runs}
        while pending:
            (ready,), _ = ray.wait(list(pending), num_returns=1)
            run = pending.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:  # the worker or its machine is gone
                yield Outcome(run, None, str(error)[-MAX_ERROR_CHARACTERS:])
    finally:
        ray.shutdown()
