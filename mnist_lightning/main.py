"""The command line: `main`, all of its commands, and how each may end."""

import errno
import os
import sys
import warnings
from importlib import import_module

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mnist_lightning.cli import CommandLine
from mnist_lightning.errors import UserError
from mnist_lightning.fast.allocation import keep_freed_memory
from mnist_lightning.options.messages import quieten

# Beside the framework's `fit`, `validate`, `test` and `predict`: each is in a folder of its name, and is imported only
# where it is asked for.
COMMANDS = {
    "read": "Read the digits in pictures.",
    "study": "Train several configs over several seeds, into one table.",
    "report": "Draw the figures of a finished run.",
    "export": "Write a trained network as one file.",
    "demo": "Serve a page to draw digits on.",
}


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether processes that train together have lost one another; gloo has no error type of its own."""
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def main(args: ArgsType = None) -> None:
    """Runs the command line: `main(["fit", "--config", "configs/optimized.yaml"])`.

    Raises:
        SystemExit: status 2 after a mistake of the user's, whose text says what to change; 1 after a study in which a
            seed failed, pictures that did not all hold a digit, or another process's end; 130 after Ctrl-C and 143
            after SIGTERM.
    """
    try:
        with warnings.catch_warnings():
            quieten()
            keep_freed_memory()
            match sys.argv[1:] if args is None else args:
                case [str(name), *rest] if name in COMMANDS:
                    import_module(f"mnist_lightning.{name}.command").main(rest)
                case _:
                    CommandLine(args, COMMANDS)
    except (UserError, MisconfigurationException) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of the output is gone, as with `| head`. Nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(
            f"error: {error.filename or 'the output'} cannot be written ({error.strerror}): make room.", file=sys.stderr
        )
        sys.exit(2)
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        print(
            "error: another process of this run has ended or cannot be reached; its own output says why. The run goes "
            "on with --ckpt_path last, and as many processes.",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nended by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    except SIGTERMException:
        sys.exit(143)
