"""Errors that a user can fix: `main` prints the message without a traceback and exits with status 2.

`read` is the exception: it prints the error of a picture on that picture's line and continues with the next one.
"""

PROGRAM = "python -m mnist_lightning"


class UserError(Exception):
    """Base class: a setting, file or machine that the command cannot use; the message says what to change."""


class DataFilesError(UserError):
    """Data files are missing, damaged or unreadable, and could not be downloaded."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, written by another program, or for a different network."""


class DivergenceError(UserError):
    """The loss, the weights or the logits are NaN or infinite."""


class ExportError(UserError):
    """An exported file cannot hold the network, or does not reproduce its outputs."""


class SettingError(UserError):
    """An option's value conflicts with another option, the data or the machine."""


class NoDigitError(UserError):
    """A picture does not show exactly one digit; the message says what it shows."""


class ImageFileError(UserError):
    """A file cannot be read as an image."""
