"""`python -m mnist_lightning report RUN`: draws a finished run; `fit` itself writes report.md (callbacks/record.py)."""

from pathlib import Path


def report(run: str, /, data_dir: str | None = None, network: str | None = None) -> None:
    """Draw the figures of a run's last weights, and write report.html, figures/ and analysis.json into its folder.

    Args:
        run: The run's folder, such as runs/optimized/version_0.
        data_dir: Directory of the images, as --data.data_dir; by default MNIST_DATA_DIR in the environment, or `data`.
        network: Class path of the run's network, if it is your own, such as my_nets.MyNet.
    """
    from mnist_lightning.report.analysis import read_run
    from mnist_lightning.report.page import write_report

    write_report(read_run(Path(run), data_dir, network))
