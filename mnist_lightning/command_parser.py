"""What the parsers of this project's own commands have in common; those of `fit` and its like are the framework's."""

from mnist_lightning.cli_parser import ShortErrorParser
from mnist_lightning.option_types import PathText, Threads
from mnist_lightning.setting_checks import PROGRAM


def command_parser(name: str, description: str) -> ShortErrorParser:
    """The parser of `python -m mnist_lightning NAME`, without options."""
    parser = ShortErrorParser(prog=f"{PROGRAM} {name}", description=description)
    parser.help_command = f"{parser.prog} --help"
    return parser


def add_evaluation_options(parser: ShortErrorParser) -> None:
    """Adds where the test images lie, and how many threads there are to evaluate them."""
    parser.add_argument(
        "--data_dir",
        type=PathText | None,
        default=None,
        help="Directory that holds MNIST/raw; by default the environment variable MNIST_DATA_DIR, else `data`.",
    )
    parser.add_argument(
        "--num_threads", type=Threads | None, default=None, help="Threads on the CPU; by default one for each core."
    )
