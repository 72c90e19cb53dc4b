"""The errors that a user can meet and mend: `main` prints their text, without a traceback, and exits with status 2.

But of several pictures, one that cannot be read has a line of its own, and the others are read.
"""

PROGRAM = "python -m mnist_lightning"


class UserError(Exception):
    """A setting, file or machine that the run cannot work with; the message says what to change."""


class DataFilesError(UserError):
    """The data files are missing, damaged or unreadable, and could not be downloaded."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, made by another program, or of another network than asked for."""


class DivergenceError(UserError):
    """The loss or the weights are no longer finite numbers."""


class ExportError(UserError):
    """An exported file would not compute what the network does."""


class SettingError(UserError):
    """An option's value does not fit the others, the data or the machine."""


class NoDigitError(UserError):
    """A picture in which no digit was found; the message says what was there instead."""


class ImageFileError(UserError):
    """A file that cannot be read as a picture."""
