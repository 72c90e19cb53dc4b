"""`python -m mnist_lightning report RUN`: draws the figures of a finished run."""

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.options import command_parser, parse_options, use_threads
from mnist_lightning.report import CheckpointName


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["runs/optimized/version_0"])`."""
    parser = command_parser(report, positional=("run",))
    parser.add_argument("run", metavar="RUN", type=PathText, help="The run's folder, such as runs/optimized/version_0.")
    report(**parse_options(parser, args))


def report(
    run: str, checkpoint: CheckpointName = "last", data_dir: PathText | None = None, num_threads: Threads | None = None
) -> None:
    """Draw a finished run's figures, and write report.html, figures/ and analysis.json into its folder.

    Args:
        run: The run's folder.
        checkpoint: Weights to evaluate: those of the `last` epoch, which the run itself reports, or the `best` ones.
        data_dir: Directory of the images, as --data.data_dir; by default the environment variable MNIST_DATA_DIR, else
            `data`.
        num_threads: Threads on the CPU; by default one for each core.

    Raises:
        UserError: there is no such run, its report is damaged, or its folder cannot be written.
        CheckpointError: the run has no such checkpoint, or it is damaged.
        UserError: the images are missing.
    """
    from mnist_lightning.report.figures import write_figures
    from mnist_lightning.report.finished_run import read_run

    use_threads(num_threads)
    write_figures(read_run(Path(run), checkpoint, data_dir))
