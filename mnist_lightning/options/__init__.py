"""What the command line needs beyond the framework: checks of settings, short errors."""

from mnist_lightning.options.commands import command_parser, parse_options, use_threads

__all__ = ["command_parser", "parse_options", "use_threads"]
