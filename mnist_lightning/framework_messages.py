"""What the framework says and the user can do nothing about."""

import logging
import warnings


def quieten() -> None:
    """Silences it, its warnings until the `warnings.catch_warnings` around it ends."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
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
