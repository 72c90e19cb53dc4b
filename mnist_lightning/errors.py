"""Errors that a user can fix: `main` prints the message without a traceback and exits with status 2."""

PROGRAM = "python -m mnist_lightning"


class UserError(Exception):
    """A setting, file or machine that the command cannot use; the message says what to change."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, written by another program, or for a different network."""


class DivergenceError(UserError):
    """The loss, the weights or the logits are NaN or infinite."""
