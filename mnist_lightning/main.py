"""The command line: the table of commands, and the one place where errors end."""

import difflib
import errno
import os
import signal
import sys
import threading
import warnings
from importlib import import_module
from types import FrameType
from typing import Any

import mnist_lightning
from mnist_lightning.errors import PROGRAM, Terminated, UserError
from mnist_lightning.files import one_line
from mnist_lightning.options import TRAINER_COMMANDS, load_framework, run_command

# Each lives in the folder of its name. A command imports only what it needs: PyTorch and Lightning take seconds.
COMMANDS: dict[str, str] = {
    "read": "Read the digits in pictures.",
    "study": "Train several configs over several seeds, into one table.",
    "report": "Draw the figures of a finished run.",
    "export": "Write a trained network as one file.",
    "demo": "Open a page to draw digits on.",
}
FOLDERS: dict[str, str] = {"demo": "export"}  # of commands that have none of their own
START = f"Start with `{PROGRAM} fit --config configs/optimized.yaml`, or run `{PROGRAM} --help`."
NO_MEMORY = "there is not enough memory. Use a smaller --data.batch_size or --data.eval_batch_size."
# Errors of the machine that PyTorch raises as a RuntimeError: a part of its text, and what to do.
MACHINE_ERRORS = {
    "/gloo/": "another process of this run has ended or cannot be reached; its output says why. Resume with "
    "--ckpt_path last and the same number of processes.",
    "can't allocate memory": NO_MEMORY,
    "out of memory": NO_MEMORY,
}


def main(args: list[str] | None = None) -> None:
    """Runs the command line: `main(["fit", "--config", "configs/optimized.yaml"])`.

    Raises:
        SystemExit: status 2 for an error that the user can fix; 1 if a seed of a study failed, a picture held no digit,
            or `read` was not sure of one; 130 after Ctrl-C, 143 after SIGTERM.
    """
    previous = _handle_sigterm()
    try:
        with warnings.catch_warnings():
            _run(sys.argv[1:] if args is None else args)
    except UserError as error:
        _end(str(error))
    except OSError as error:
        if error.filename is None and error.errno in (errno.EPIPE, errno.EINVAL):  # the latter: on Windows
            # The reader of the output has ended, as with `| head`: nothing is left to flush at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        _end(f"{error.filename or 'a file'}: {error.strerror or error}. Check the path, permissions and free space.")
    except MemoryError:
        _end(NO_MEMORY)
    except RuntimeError as error:
        advice = [advice for text, advice in MACHINE_ERRORS.items() if text in str(error)]
        if not advice:
            raise
        _end(advice[0])
    except KeyboardInterrupt as error:
        _end(f"ended by Ctrl-C. {error}", status=130)
    except Terminated as error:
        _end(f"ended by SIGTERM. {error}", status=143)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _run(args: list[str]) -> None:
    match args:
        case []:
            raise UserError(f"a command is missing. {START}")
        case ["-h" | "--help", *_]:
            print(_help())
        case ["--version", *_]:
            print(f"mnist_lightning {mnist_lightning.__version__}")
        case [name, *rest] if name in COMMANDS:
            run_command(getattr(import_module(f"mnist_lightning.{FOLDERS.get(name, name)}.command"), name), rest)
        case [name, *_] if name in TRAINER_COMMANDS:
            load_framework()
            import_module("mnist_lightning.cli").CommandLine(args)
        case [name, *_]:
            close = difflib.get_close_matches(name, TRAINER_COMMANDS | COMMANDS, n=1)
            raise UserError(f"{name[:100]!r} is not a command. {f'Did you mean {close[0]}?' if close else START}")


def _help() -> str:
    lines = [f"    {name:10}{text}" for name, text in (TRAINER_COMMANDS | COMMANDS).items()]
    usage = f"usage: {PROGRAM} COMMAND [options]\n\n{mnist_lightning.__doc__}\n\ncommands:"
    more = f"\nRun `{PROGRAM} COMMAND --help` for the options of a command, `{PROGRAM} --version` for the version."
    return "\n".join([usage, *lines, more])


def _end(message: str, status: int = 2) -> None:
    lines = [one_line(line).rstrip() for line in message.splitlines()]
    start = "error: " if status == 2 else "\n"
    print(start + "\n".join(lines), file=sys.stderr)
    sys.exit(status)


def _handle_sigterm() -> Any:
    """Makes SIGTERM an exception, so that every `finally` runs; returns the handler before, None in other threads."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    return signal.signal(signal.SIGTERM, terminate)
