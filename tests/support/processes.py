"""Runs the command line in separate processes, which start fast because a fork server has imported everything."""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.main import main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["mnist_lightning.cli"])  # not a module of the tests: its path would be unknown
TIMEOUT_SECONDS = 300.0  # for what takes a few seconds on an idle machine


def start(args: list[str], output: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """Starts `python -m mnist_lightning ARGS` and appends both outputs to a file."""
    process = _CONTEXT.Process(target=_run, args=(args, environment or {}, output), daemon=True)  # ends with the tests
    process.start()
    return process


def start_ranks(num_ranks: int, args: list[str], output: Path) -> list[BaseProcess]:
    """Starts the processes of a `ddp` run, like `torchrun`; the outputs go to `OUTPUT.RANK`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num_ranks)}
    shared |= {"LOCAL_WORLD_SIZE": str(num_ranks), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    devices = ["--trainer.strategy", "ddp", "--trainer.devices", str(num_ranks), "--trainer.accelerator", "cpu"]
    return [
        start([*args, *devices], output.with_suffix(f".{rank}"), shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(num_ranks)
    ]


def free_port() -> int:
    """Reserves a free port for a server that sets SO_REUSEADDR, as all do."""
    reserved = socket.socket()  # stays bound, so that no other process gets the port before the server starts
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    atexit.register(reserved.close)
    port: int = reserved.getsockname()[1]
    return port


def wait_until(condition: Callable[[], object], seconds_between: float = 0.01) -> None:
    """Waits until the condition is true.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {TIMEOUT_SECONDS:.0f} s")
        time.sleep(seconds_between)


def end(process: BaseProcess) -> int:
    """Waits for the end of a process; returns its exit status.

    Raises:
        TimeoutError: it did not end in time.
    """
    process.join(TIMEOUT_SECONDS)
    if process.exitcode is None:
        raise TimeoutError(f"{process.name} has not ended after {TIMEOUT_SECONDS:.0f} s")
    return process.exitcode


def _run(args: list[str], environment: Mapping[str, str], output: Path) -> None:
    torch.set_num_threads(1)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.update(environment)
    if "RANK" in environment:
        rank_zero_only.rank = int(environment["RANK"])  # type: ignore[attr-defined]  # set when lightning was imported
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
    main(args)
