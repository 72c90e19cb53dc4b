"""Runs compiled functions on the threads of PyTorch's own OpenMP runtime: other threads would compete with these."""

import ctypes
import sys
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from llvmlite import binding

_integer = ctypes.CFUNCTYPE(ctypes.c_int)
try:
    _openmp: Any = ctypes.CDLL(None)  # PyTorch loads the runtime for the whole process
    _parallel, _member, _size = _openmp.GOMP_parallel, _openmp.omp_get_thread_num, _openmp.omp_get_num_threads
except (AttributeError, OSError, TypeError):  # as on macOS and Windows
    _parallel, _member, _size = None, _integer(lambda: 0), _integer(lambda: 1)
    rank_zero_only(print)("No GNU OpenMP runtime: part of each step runs on one thread.", file=sys.stderr, flush=True)
for _name, _function in (("team_member", _member), ("team_size", _size)):  # names for compiled code
    binding.add_symbol(_name, ctypes.cast(_function, ctypes.c_void_p).value)


def run_on_team(function: int, data: int, most: int) -> None:
    """Calls the function at an address with the address of its data, on at most `most` threads at the same time."""
    if _parallel is None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(data)
    else:
        num_threads = ctypes.c_uint(max(1, min(most, torch.get_num_threads())))
        _parallel(ctypes.c_void_p(function), ctypes.c_void_p(data), num_threads, ctypes.c_uint(0))
