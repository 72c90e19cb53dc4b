"""Runs of the command line in processes of their own, which start at once: what they import was imported before."""

import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from mnist_lightning.cli import main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["processes"])


def start(
    args: list[str],
    output: Path,
    environment: Mapping[str, str] | None = None,
    max_file_bytes: int = resource.RLIM_INFINITY,
) -> BaseProcess:
    """Starts `python -m mnist_lightning ARGS` with both outputs appended to a file; no file can grow beyond a limit."""
    process = _CONTEXT.Process(target=_run, args=(args, output, environment or {}, max_file_bytes))
    process.start()
    return process


def start_ranks(num_ranks: int, args: list[str], output: Path) -> list[BaseProcess]:
    """Starts the processes of a `ddp` run, as `torchrun` does; each has an output of its own, `OUTPUT.RANK`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num_ranks)}
    shared |= {"LOCAL_WORLD_SIZE": str(num_ranks), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    devices = ["--trainer.strategy", "ddp", "--trainer.devices", str(num_ranks), "--trainer.accelerator", "cpu"]
    return [
        start(
            [*args, *devices],
            output.with_suffix(f".{rank}"),
            shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(num_ranks)
    ]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _run(args: list[str], output: Path, environment: Mapping[str, str], max_file_bytes: int) -> None:
    os.environ.update(environment)
    if "RANK" in environment:
        rank_zero_only.rank = int(environment["RANK"])  # type: ignore[attr-defined]  # which lightning asked for when it was imported, before
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's job in the background ignores
    torch.set_num_threads(1)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    main(args)
