"""Prints only those of Lightning's messages and warnings that a user can act on or has requested."""

import logging
import os
import sys
import warnings
from pathlib import Path

from typing_extensions import override


class _AboveBar(logging.Handler):
    """Prints warnings, and messages of callbacks and profilers, to standard error, above any progress bar.

    Options request those. Lightning's other messages, such as the available devices, repeat what the run prints itself.
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        source = Path(record.pathname)
        framework = Path(str(sys.modules["lightning"].__file__)).parent
        is_requested = not source.is_relative_to(framework) or source.parent.name in ("callbacks", "profilers")
        # WeightAveraging reports for every resumed run that it found its own state.
        return record.levelno >= logging.WARNING or (is_requested and source.name != "weight_averaging.py")

    @override
    def emit(self, record: logging.LogRecord) -> None:
        from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

        Tqdm.write(self.format(record), file=sys.stderr)


_HANDLER = _AboveBar()


def load_framework() -> None:
    """Imports PyTorch and Lightning, which takes seconds, and silences what `_AboveBar` does not print.

    Warnings are silenced until the enclosing `warnings.catch_warnings` ends.
    """
    # Lightning starts the other processes of a run with the same command, and their rank in LOCAL_RANK.
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    if "lightning" not in sys.modules and sys.stderr.isatty() and is_first:
        print("Loading PyTorch and Lightning ...", file=sys.stderr, flush=True)
    import lightning.pytorch  # noqa: F401  (adds handlers of its own, which are replaced)

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
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # ShuffledBatches resumes at the next step
    ):
        warnings.filterwarnings("ignore", message)
