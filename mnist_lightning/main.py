"""The command line: the table of commands, and their exit statuses."""

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

# The commands beside the framework's `fit`, `validate`, `test` and `predict`. Each lives in the folder of its name, and
# is imported only when it is run.
COMMANDS = {
    "read": "Read the digits in pictures.",
    "study": "Train several configs over several seeds, into one table.",
    "report": "Draw the figures of a finished run.",
    "export": "Write a trained network as one file.",
    "demo": "Serve a page to draw digits on.",
}


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether processes that train together have lost one another; gloo raises no type of its own."""
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def main(args: ArgsType = None) -> None:
    """Runs the command line: `main(["fit", "--config", "configs/optimized.yaml"])`.

    Raises:
        SystemExit: status 2 for a user's error, whose message says what to change; 1 if a seed of a study failed, a
            picture held no digit, or another process of the run ended; 130 after Ctrl-C, 143 after SIGTERM.
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
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        print(
            "error: another process of this run has ended or cannot be reached; its output says why. Resume with "
            "--ckpt_path last and the same number of processes.",
            file=sys.stderr,
        )
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nended by Ctrl-C", file=sys.stderr)
        sys.exit(130)
    except SIGTERMException:
        sys.exit(143)
