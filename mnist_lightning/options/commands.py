"""Parsers of the project's own commands: a typed function's signature gives the options, its docstring the help."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mnist_lightning.errors import PROGRAM
from mnist_lightning.options.messages import load_framework
from mnist_lightning.options.parser import ShortErrorParser


def command_parser(command: Callable[..., None], positional: tuple[str, ...] = ()) -> ShortErrorParser:
    """The parser of `python -m mnist_lightning NAME`, named after the function.

    Args:
        command: the function.
        positional: arguments that are not options; the caller adds them.
    """
    description, _, _ = (inspect.getdoc(command) or "").partition("\n")
    parser = ShortErrorParser(prog=f"{PROGRAM} {command.__name__}", description=description)
    parser.example_config = None
    parser.add_argument("-c", "--config", action="config", help="YAML file of options.")
    parser.add_function_arguments(command, as_group=False, skip=set(positional))
    return parser


def parse_options(parser: ShortErrorParser, args: Sequence[str]) -> dict[str, Any]:
    """Parses a command's arguments, and then imports the framework: errors and `--help` do not wait for it."""
    options = parser.parse_args(list(args)).as_dict()
    del options["config"]  # the file, whose settings are among the options
    load_framework()
    return options


def use_threads(num_threads: int | None) -> None:
    """Sets PyTorch's number of CPU threads; None leaves one per core."""
    if num_threads is not None:
        import torch

        torch.set_num_threads(num_threads)
