"""Options: the parser of all commands with its short errors, and a quiet framework."""

import difflib
import inspect
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, set_loader  # type: ignore[attr-defined]
from typing_extensions import override

from mnist_lightning.errors import PROGRAM, UserError
from mnist_lightning.files import expanded, find_file, load_yaml, one_line

TRAINER_COMMANDS = {
    "fit": "Train a network.",
    "validate": "Evaluate a checkpoint on the validation images.",
    "test": "Evaluate a checkpoint on the test images.",
    "predict": "Write the class that a checkpoint sees in each test image.",
}


set_loader("yaml", load_yaml, exceptions=(yaml.YAMLError,))


class ConfigFile(ActionConfigFile):
    """`--config`, which also finds the configs that come with the package."""

    @override
    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        path = find_file(expanded(values))
        if not path.startswith("{") and Path(path).is_file():  # else a text of settings
            try:
                load_yaml(Path(path).read_text(encoding="utf-8"))
            except (yaml.YAMLError, UnicodeDecodeError) as error:  # jsonargparse would not name the file
                raise UserError(f"--config {values} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
        super().__call__(parser, cfg, path, option_string)  # type: ignore[no-untyped-call]


class ShortErrorParser(ArgumentParser):
    """jsonargparse's parser, without abbreviations: an error is the message's first lines and what to do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # argparse accepts unique prefixes: `--trainer.max_epoch 3` would train.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        for name in ("config", ActionConfigFile):
            self.register("action", name, ConfigFile)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # of a class that an option names: the outer parser knows the option
            super().error(message, ex)
        text = re.sub(r'Parser key "([\w.]+)":', r"--\1:", str(message)).replace("<class '", "").replace("'>", "")
        lines = [" ".join(line.split())[:300] for line in text.splitlines() if line.strip()]
        shown = lines[0]
        if shown.endswith(":"):  # a heading
            reason = telling_reason(text)
            last = [] if "class_path" in reason else [lines[-1].removeprefix("- ")]
            shown = f"{shown} {'. '.join(dict.fromkeys(filter(None, [reason, *last])))}"[:400]
        unknown = re.search(r"unrecognized arguments: (\S+)|[Oo]ption '([\w.]+)'", text)
        name = (unknown[1] or unknown[2]).lstrip("-").partition("=")[0] if unknown else ""
        close = difflib.get_close_matches(name, self._option_names(), n=1, cutoff=0.75) if name else []
        program = self.prog.replace("[options] ", "")
        hint = f"Did you mean --{close[0]}?" if close else f"Run `{program} --help` for the list of options."
        if name.endswith((".yaml", ".yml")):
            hint = f"Write --config {name}."
        sys.stderr.write(f"error: {one_line(shown)}\n{hint}\n")
        sys.exit(2)

    def _option_names(self) -> list[str]:
        subparsers = [
            parser
            for action in self._actions
            for parser in (action.choices.values() if isinstance(action.choices, dict) else [])
        ]
        return sorted({name[2:] for parser in [self, *subparsers] for name in parser._option_string_actions})


def telling_reason(error: str) -> str:
    """The most telling of the reasons that an error of jsonargparse lists; empty if it lists none."""
    kinds = (r"- (Problem with given class_path .*\n.*)", r"- (Expected a dot import path .*)", r"- (.*)")
    found = next(filter(None, (re.search(kind, error) for kind in kinds)), None)
    return " ".join(found[1].split()) if found else ""


def command_parser(command: Callable[..., None]) -> ShortErrorParser:
    """The parser of a function as a command: its signature gives the options, its docstring the help."""
    doc = inspect.getdoc(command) or ""
    parser = ShortErrorParser(prog=f"{PROGRAM} {command.__name__}", description=doc.partition("\n")[0])
    parser.add_argument("-c", "--config", action="config", help="YAML file of options.")
    for name, kind in _positional(command).items():  # jsonargparse skips them
        text = re.search(rf"{name}: (.*)", doc)
        parser.add_argument(name, type=str, nargs="+" if kind == list[str] else None, help=text and text[1])
    parser.add_function_arguments(command, as_group=False, skip=set(_positional(command)))
    return parser


def _positional(command: Callable[..., None]) -> dict[str, Any]:
    """Names and types of the positional-only parameters, which are arguments without `--`."""
    parameters = inspect.signature(command).parameters.values()
    return {each.name: each.annotation for each in parameters if each.kind is each.POSITIONAL_ONLY}


def run_command(command: Callable[..., None], args: Sequence[str]) -> None:
    """Runs a function as a command. Errors in `args`, and `--help`, do not wait for the framework's import."""
    options = command_parser(command).parse_args(list(args)).as_dict()
    del options["config"]  # the file, whose settings are among the options
    load_framework()
    options = {name: expanded(value) if isinstance(value, str) else value for name, value in options.items()}
    command(*[options.pop(name) for name in _positional(command)], **options)


def load_framework() -> None:
    """Imports PyTorch and Lightning, which takes seconds, and prints only what a user can act on.

    Warnings are silenced until the enclosing `warnings.catch_warnings` ends.
    """
    if "lightning" not in sys.modules and sys.stderr.isatty():
        print("Loading PyTorch and Lightning ...", file=sys.stderr, flush=True)
    from lightning.fabric.utilities.warnings import PossibleUserWarning

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("callbacks", "profilers"):  # their messages were requested by an option
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", category=PossibleUserWarning)
    for message in (
        ".*args parameter is intended to run from within Python.*",  # pytest and notebooks have arguments of their own
        ".*LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # the folder is the run's own
        ".*Total length of `list` across ranks is zero.*",  # --data.validation none means it
        ".*callbacks used to create the checkpoint need to be provided.*",  # an evaluation writes no record
        ".*The dirpath has changed.*",  # a run's folder may be moved
    ):
        warnings.filterwarnings("ignore", message)
