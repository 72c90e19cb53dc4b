"""`python -m mnist_lightning` and the command `mnist_lightning`: prints that it is loading, then runs `main.py`."""

import os
import sys


def main() -> None:
    """Imports the command line, which takes seconds, and runs it."""
    # Spinning threads take cores from other programs, and from the thread that they wait for. A step of 512 images,
    # spinning and passive (2 cores, torch 2.14, medians): 212 and 237 ms alone, 533 and 348 ms beside a busy process,
    # 1,250 and 385 ms beside another run. OpenMP reads this variable when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Lightning starts the other processes of a run with the same command and sets their rank in this variable.
    if sys.stderr.isatty() and os.environ.get("LOCAL_RANK", "0") == "0":
        print("Loading PyTorch and Lightning ...", file=sys.stderr, flush=True)
    try:
        from mnist_lightning.main import main as run
    except KeyboardInterrupt:
        print("\nended by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
