"""The command line: `main`, all of its commands, and how each may end."""

import errno
import os
import sys
import warnings

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import ArgsType
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mnist_lightning.allocation import keep_freed_memory
from mnist_lightning.command_line import CommandLine
from mnist_lightning.errors import UserError
from mnist_lightning.framework_messages import quieten


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
            # The commands that are not the framework's are imported where they are asked for.
            match sys.argv[1:] if args is None else args:
                case ["study", *rest]:
                    from mnist_lightning.study.command import run_study

                    run_study(rest)
                case ["demo", *rest]:
                    from mnist_lightning.demo.command import run_demo

                    run_demo(rest)
                case ["export", *rest]:
                    from mnist_lightning.export.command import run_export

                    run_export(rest)
                case ["report", *rest]:
                    from mnist_lightning.analysis.command import run_report

                    run_report(rest)
                case _:
                    CommandLine(args)
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
        print(f"error: {error.filename or 'a file'} cannot be written ({error.strerror}): make room.", file=sys.stderr)
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
