"""Errors that a user can fix: `main` prints the message without a traceback and exits with status 2."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

PROGRAM = "python -m mnist_lightning"


class UserError(Exception):
    """A setting, file or machine that the command cannot use; the message says what to change."""


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, written by another program, or for a different network."""


class DivergenceError(UserError):
    """The loss, the weights or the logits are NaN or infinite."""


class Terminated(BaseException):
    """SIGTERM has arrived: ends the command, and runs every `finally`; the text says how to continue."""


def check_choices(cls: type, arguments: Mapping[str, Any]) -> None:
    """Raises a UserError if an argument of a class that is a `Literal` is none of its choices."""
    for name, hint in get_type_hints(cls.__init__).items():  # type: ignore[misc]
        if get_origin(hint) is Literal and arguments[name] not in get_args(hint):
            raise UserError(f"{name}={arguments[name]!r}: use one of {', '.join(map(repr, get_args(hint)))}.")
