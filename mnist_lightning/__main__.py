"""`python -m mnist_lightning`, and the command `mnist_lightning`."""

import atexit
import gc
import os
import sys
from io import TextIOWrapper

from mnist_lightning import main as command_line


def main() -> None:
    """Runs the command line."""
    # The framework's imports make a million objects, none of them garbage. By default, the collector looks through them
    # a hundred times meanwhile (imports take 3.7 s instead of 3.1 s), and once more at the end (1 s).
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    # Threads that spin while they wait for each other take the cores from other programs; threads that never spin must
    # be woken for every operation. Milliseconds of a step of `fast.yaml` with `cpu.yaml` at 1,000, 20,000 and 100,000
    # spins: 27, 18, 17 alone; 80, 108, 252 beside another run (Xeon with AMX, 2 cores, torch 2.14, medians).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    if isinstance(sys.stdout, TextIOWrapper):  # redirected, it may have an encoding without → and ≥
        sys.stdout.reconfigure(errors="backslashreplace")
    command_line.main()


if __name__ == "__main__":
    main()
