"""The argument parser: no abbreviations, and short errors whose last line says what to change."""

import difflib
import json
import re
import sys
from typing import Any, NoReturn

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, set_loader  # type: ignore[attr-defined]
from jsonargparse._loaders_dumpers import yaml_load
from typing_extensions import override

from mnist_lightning.errors import UserError
from mnist_lightning.files import find_file

MAX_ERROR_LINES = 6
MAX_LINE_LENGTH = 300


def load_yaml(text: str) -> Any:
    """Reads YAML as jsonargparse does.

    Raises:
        YAMLError: it is not YAML, or it is nested too deeply, or an alias contains itself.
    """
    try:
        value = yaml_load(text)
        json.dumps(value, skipkeys=True, default=str)  # ValueError if an alias contains itself, which would never end
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except (TypeError, ValueError) as error:  # a key that is a list, a number of thousands of digits
        raise yaml.YAMLError(str(error)) from None
    return value


set_loader("yaml", load_yaml, exceptions=(yaml.YAMLError,))


# jsonargparse has no error types for mistakes, so its texts are reworded; tests/test_command_line.py holds the results.
REWORDED = (
    (r"(?m)^ *(- )?(Does not validate against any|Subtypes:|Errors:|Given value type:|Expected a path but).*\n?", ""),
    (r"(?m)^ *- Expected an? <class '(NoneType|collections[\w.]+)'>\n?", ""),
    (r'Parser key "([\w.]+)":\s*(- )?', r"--\1: "),
    (r"(- )?Not of type \w+: ", ""),
    ("does not conform to restriction", "is out of range:"),
    (r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number"),
    ("could not convert string to float: (.*)", r"\1 is not a number"),
    (r"Expected a (typing\.)?Literal", "Expected one of "),
    ("<class 'list'>", "list"),
    ("<class 'int'>", "whole number"),
    ("<class 'float'>", "number"),
    ("Expected a <class 'bool'>", "Expected true or false"),
    ("Expected a dot import path string: ", "no class has the name "),
)


def _plain(message: str) -> str:
    """A message of jsonargparse without Python's type names."""
    for pattern, text in REWORDED:
        message = re.sub(pattern, text, message)
    return message


class ConfigFile(ActionConfigFile):
    """`--config`, which also finds the configs that come with the package."""

    @override
    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Reads the file.

        Raises:
            UserError: it replaces a group of options with a single value, such as an empty one.
        """
        super().__call__(parser, cfg, find_file(values), option_string)  # type: ignore[no-untyped-call]
        groups = {action.dest.rpartition(".")[0] for action in parser._actions}
        for name, value in vars(cfg).items():
            if name in groups and not isinstance(value, Namespace):
                raise UserError(
                    f"--config: {name}: {value} in a config replaces a whole group of options. Write options below "
                    "it, or omit it."
                )


class ShortErrorParser(ArgumentParser):
    """jsonargparse's parser, with short errors."""

    example_config: str | None = "configs/optimized.yaml"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # argparse accepts unique prefixes: `--trainer.max_epoch 3` would train.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        for name in ("config", ActionConfigFile):
            self.register("action", name, ConfigFile)

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        lines = [line.rstrip()[:MAX_LINE_LENGTH] for line in _plain(str(message)).splitlines() if line.strip()]
        if len(lines) > MAX_ERROR_LINES:
            lines = [*lines[: MAX_ERROR_LINES - 1], lines[-1]]
        sys.stderr.write("\n".join([f"error: {lines[0]}", *lines[1:], self._hint(str(message))]) + "\n")
        sys.exit(2)

    def _hint(self, message: str) -> str:
        help_command = f"{self.prog.replace('[options] ', '')} --help"  # part of a subcommand's prog
        stray = re.search(r"unrecognized arguments: (\S+\.ya?ml)", message)
        if stray:
            return f"Write --config {stray[1]}."
        unknown = re.search(r"unrecognized arguments: --(\S+?)(?:[ =]|$)|does not accept option '([\w.]+)'", message)
        if unknown:
            name = unknown[1] or unknown[2]
            names = self._option_names()
            beginnings = sorted((option for option in names if option.startswith(name)), key=len)
            close = beginnings or difflib.get_close_matches(name, names, n=1, cutoff=0.75)
            if close:
                return f"Did you mean --{close[0]}?"
            return f"Run `{help_command}` for the list of options."
        if "config" in message and "does not exist" in message:
            example = f", such as {self.example_config}" if self.example_config else ""
            return f"Give --config the path of a YAML file that exists{example}."
        is_unreadable = "config" in message and ("load" in message or "pars" in message.lower())
        if message.startswith("Unexpected config:") or (is_unreadable and "Expected" not in message):
            example = f"like {self.example_config}" if self.example_config else "of this command's options"
            return f"Give --config a YAML file {example}."
        if 'Expected "subcommand"' in message or "subcommand" in message.split("\n", maxsplit=1)[0]:
            return "Start with: python -m mnist_lightning fit --config configs/optimized.yaml"
        if "is not a seed" in message:
            return f"Give --seed_everything a number from 0 to {2**32 - 1}."
        required = re.search(r"arguments are required: (.+)", message)
        missing = [
            f"--{name}" for name in (required[1].split(", ") if required else []) if name in self._option_names()
        ]
        if missing:
            return f"Add {' and '.join(missing)}. `{help_command}` documents each."
        option = re.search(r'[Kk]ey "([\w.]+)"', message)
        if option:
            return f"Change --{option[1]}, on the command line or in the config; `--help` documents it."
        return f"Run `{help_command}` for the list of options."

    def _option_names(self) -> list[str]:
        parsers = [self]
        for action in self._actions:
            choices = action.choices if isinstance(action.choices, dict) else {}
            parsers += [parser for parser in choices.values() if isinstance(parser, ShortErrorParser)]
        return sorted({name[2:] for parser in parsers for name in parser._option_string_actions if name[:2] == "--"})


def configs_first(args: list[str]) -> list[str]:
    """The same arguments with each --config before all other options."""
    configs, others = [], []
    words = iter(args)
    for word in words:
        if word in ("--config", "-c"):
            configs += [word, next(words, "")]
        elif word.startswith("--config="):
            configs.append(word)
        else:
            others.append(word)
    return [*others[:1], *configs, *others[1:]]


def overridden_options(args: list[str], requested: Namespace, read: Namespace) -> list[str]:
    """A line for each option whose value a later config has overridden.

    Args:
        args: command-line arguments.
        requested: their values with the configs first.
        read: their values in the given order.
    """
    lines = []
    for option in dict.fromkeys(word[2:].partition("=")[0].rstrip("+") for word in args if word.startswith("--")):
        name = option
        while name and name not in requested:  # an argument of a class that another option names
            name = name.rpartition(".")[0]
        if name and requested[name] != (value := read.get(name)):
            text = "another value" if isinstance(value, Namespace | list) else value
            lines.append(f"--{option}: a later config overrides it with {text}. Put --config before other options.")
    return lines
