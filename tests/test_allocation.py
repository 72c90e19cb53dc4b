"""Freed memory is reused, measured by the process's count of page faults."""

import subprocess
import sys

import pytest

from mnist_lightning.fast.allocation import keep_freed_memory

# Allocates and writes 40 MB repeatedly; prints the number of page faults of the last twenty times.
PROGRAM = """
import resource, torch
from mnist_lightning.fast.allocation import keep_freed_memory

def num_page_faults():
    for _ in range(10):
        torch.zeros(10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
print(num_page_faults())
keep_freed_memory()
print(num_page_faults())
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="this system's C library is not glibc")
def test_freed_memory_is_reused() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    num_before, num_after = map(int, done.stdout.split())
    assert num_after < num_before / 10


def test_other_c_libraries_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    assert not keep_freed_memory()
