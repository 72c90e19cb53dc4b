"""The figures of a finished run: `python -m mnist_lightning report RUN`."""

from typing import Literal

CheckpointName = Literal["last", "best"]
