"""Which of Lightning's messages and warnings are printed: those that a user can act on, or has asked for."""

import logging
import sys
import warnings
from pathlib import Path

import lightning
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from typing_extensions import override

_LIGHTNING = Path(lightning.__file__).parent


class _AboveBar(logging.Handler):
    """Prints to standard error, without tearing a progress bar: warnings, and what callbacks and profilers say.

    These speak because an option asks them to. Lightning's other messages, such as which devices there are, say nothing
    that the run's own lines do not.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        said_in = Path(record.pathname)
        is_asked_for = not said_in.is_relative_to(_LIGHTNING) or said_in.parent.name in ("callbacks", "profilers")
        # The average of the weights says of every resumed run that it found its own state.
        return record.levelno >= logging.WARNING or (is_asked_for and said_in.name != "weight_averaging.py")

    @override
    def emit(self, record: logging.LogRecord) -> None:
        Tqdm.write(self.format(record), file=sys.stderr)


_HANDLER = _AboveBar()


def quieten() -> None:
    """Silences the rest; warnings until the `warnings.catch_warnings` around it ends."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers = [_HANDLER]
        logger.propagate = False
    for message in (
        ".*args parameter is intended to run from within Python.*",  # pytest and notebooks have arguments of their own
        ".*does not have many workers.*",  # one indexing operation per batch needs none
        ".*LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # the folder is the run's own
        ".*Total length of `list` across ranks is zero.*",  # --data.validation none means it
        ".*It is recommended to use `self.log.*sync_dist.*",  # the metrics that are logged are summed over processes
        ".*callbacks used to create the checkpoint need to be provided.*",  # an evaluation writes no report
        ".*The dirpath has changed.*",  # evaluation writes no checkpoint
        ".*number of training batches .* smaller than the logging interval.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # ShuffledBatches goes on at the next step
    ):
        warnings.filterwarnings("ignore", message)
