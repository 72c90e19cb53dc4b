"""`python -m mnist_lightning`, and the command `mnist_lightning`."""

import atexit
import gc
import os
import sys
from io import TextIOWrapper

from mnist_lightning import main as command_line


def main() -> None:
    """Runs the command line."""
    # The framework's imports make a million objects, none of them garbage, which the collector would look through a
    # hundred times while they are made (3.7 seconds instead of 3.1) and once more at the end (a second).
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    # Threads that spin while they wait for each other take the cores from other programs, and from the thread that they
    # wait for; threads that never spin must be woken for every operation. libgomp reads this when torch is imported.
    # Milliseconds of a step of 128 images with libgomp's default, with OMP_WAIT_POLICY=passive, and with this:
    # 34, 50 and 36 alone; 87, 76 and 88 beside a busy process; 2,160, 76 and 94 beside another run (AMD EPYC, 2 cores,
    # torch 2.14, medians).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if isinstance(sys.stdout, TextIOWrapper):  # redirected, it may have an encoding without → and ≥
        sys.stdout.reconfigure(errors="backslashreplace")
    command_line.main()


if __name__ == "__main__":
    main()
