"""The command line: the table of commands, and their exit statuses."""

import difflib
import errno
import os
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import mnist_lightning
from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.fast.allocation import keep_freed_memory
from mnist_lightning.options.help_texts import TRAINER_COMMANDS
from mnist_lightning.options.messages import load_framework

if TYPE_CHECKING:
    from lightning.pytorch.cli import ArgsType

# Each lives in the folder of its name; TRAINER_COMMANDS are in cli.py. A command imports only what it needs: PyTorch
# and Lightning take seconds.
COMMANDS = {
    "read": "Read the digits in pictures.",
    "study": "Train several configs over several seeds, into one table.",
    "report": "Draw the figures of a finished run.",
    "export": "Write a trained network as one file.",
    "demo": "Open a page to draw digits on.",
}

_START = f"Start with `{PROGRAM} fit --config configs/optimized.yaml`, or run `{PROGRAM} --help`."


def main(args: "ArgsType" = None) -> None:
    """Runs the command line: `main(["fit", "--config", "configs/optimized.yaml"])`.

    Raises:
        SystemExit: status 2 for a user's error, whose message says what to change; 1 if a seed of a study failed, a
            picture held no digit, `read` was not sure of one, or another process of the run ended; 130 after Ctrl-C,
            143 after SIGTERM.
    """
    try:
        with warnings.catch_warnings():
            keep_freed_memory()
            match sys.argv[1:] if args is None else args:
                case []:
                    raise UserError(f"a command is missing. {_START}")
                case ["-h" | "--help", *_]:
                    print(_help())
                    sys.exit(0)
                case ["--version"]:
                    print(f"mnist_lightning {mnist_lightning.__version__}")
                    sys.exit(0)
                case [str(name), *rest] if name in COMMANDS:
                    import_module(f"mnist_lightning.{name}.command").main(rest)
                case [str(name), *_] if name not in TRAINER_COMMANDS and not name.startswith("-"):
                    _refuse(name)
                case _:
                    load_framework()
                    import_module("mnist_lightning.cli").run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of the output has ended, as with `| head`: nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(
            f"error: {error.filename or 'the output'} cannot be written ({error.strerror}). Free some space.",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nended by Ctrl-C", file=sys.stderr)
        sys.exit(130)


def _help() -> str:
    lines = [f"    {name:10}{text}" for name, text in (TRAINER_COMMANDS | COMMANDS).items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]\n\n{mnist_lightning.__doc__}\n\ncommands:",
            *lines,
            f"\nRun `{PROGRAM} COMMAND --help` for the options of a command, `{PROGRAM} --version` for the version.",
        ]
    )


def _refuse(name: str) -> NoReturn:
    close = difflib.get_close_matches(name, TRAINER_COMMANDS | COMMANDS, n=1)
    hint = f"Did you mean {close[0]}?" if close else _START
    raise UserError(f"{name[:100]!r} is not a command. {hint}")
