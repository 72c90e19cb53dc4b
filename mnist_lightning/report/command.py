"""`python -m mnist_lightning report RUN`: measures a finished run and draws its figures."""

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.options import command_parser, parse_options


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["runs/optimized/version_0"])`."""
    parser = command_parser(report, positional=("run",))
    parser.add_argument("run", metavar="RUN", type=str, help="The run's folder, such as runs/optimized/version_0.")
    report(**parse_options(parser, args))


def report(run: str, data_dir: str | None = None, network: str | None = None) -> None:
    """Draw the figures of a run's last weights, and write report.html, figures/ and analysis.json into its folder.

    Args:
        run: The run's folder.
        data_dir: Directory of the images, as --data.data_dir; by default the environment variable MNIST_DATA_DIR, else
            `data`.
        network: Class path of the run's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.report.analysis import read_run
    from mnist_lightning.report.page import write_report

    write_report(read_run(Path(run), data_dir, network))
