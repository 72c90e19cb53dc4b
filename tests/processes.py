"""Runs of the command line in processes of their own, which start at once: what they import was imported before."""

import multiprocessing
import os
import resource
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from mnist_lightning.cli import main

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["processes"])


def start(args: list[str], output: Path, max_file_bytes: int = resource.RLIM_INFINITY) -> BaseProcess:
    """Starts `python -m mnist_lightning ARGS` with both outputs appended to a file; no file can grow beyond a limit."""
    process = _CONTEXT.Process(target=_run, args=(args, output, max_file_bytes))
    process.start()
    return process


def _run(args: list[str], output: Path, max_file_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, resource.RLIM_INFINITY))
    torch.set_num_threads(1)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    main(args)
