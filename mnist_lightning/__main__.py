"""`python -m mnist_lightning`, and the command `mnist_lightning`."""

import os

from mnist_lightning import main as command_line


def main() -> None:
    """Runs the command line."""
    # Threads that spin while they wait for each other take the cores from other programs, and from the thread that they
    # wait for. A step of 512 images, spinning and passive (2 cores, torch 2.14, medians): 212 and 237 ms alone, 533 and
    # 348 ms beside a busy process, 1,250 and 385 ms beside another run. OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    command_line.main()


if __name__ == "__main__":
    main()
