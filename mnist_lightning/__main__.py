"""`python -m mnist_lightning`: see `cli.py`."""

from mnist_lightning.cli import main

if __name__ == "__main__":
    main()
