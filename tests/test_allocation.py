"""Freed memory is kept: seen from a process's own count of page faults."""

import subprocess
import sys

import pytest

from mnist_lightning.allocation import keep_freed_memory

# Allocates and writes 40 MB again and again; the count is of the pages that the system had to give for the last twenty.
PROGRAM = """
import resource, sys, torch
from mnist_lightning.allocation import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(10):
    torch.zeros(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def num_page_faults(word: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="this system's C library is not glibc")
def test_freed_memory_is_not_asked_for_again() -> None:
    assert num_page_faults("keep") < num_page_faults("leave") / 10


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert not keep_freed_memory()
