"""`python -m mnist_lightning report RUN`: the command line of a run's figures."""

from collections.abc import Sequence
from pathlib import Path

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.errors import SettingError
from mnist_lightning.options.commands import command_parser, use_threads
from mnist_lightning.report.analysis import Analysis, analyse
from mnist_lightning.report.evaluation import predict, read_test_images, robustness_of
from mnist_lightning.report.finished_run import CheckpointName, FinishedRun, read_run
from mnist_lightning.report.page import markdown_section, report_page
from mnist_lightning.report.pictures import (
    calibration_picture,
    confusion_picture,
    learning_curves_picture,
    mistakes_picture,
    robustness_picture,
)
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.json_records import to_json
from mnist_lightning.runs.report_text import report_markdown, with_figures_section


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["runs/optimized/version_0"])`."""
    parser = command_parser(report, positional=("run",))
    parser.add_argument("run", metavar="RUN", type=PathText, help="The run's folder, such as runs/optimized/version_0.")
    report(**parser.parse_args(list(args)).as_dict())


def report(
    run: str, checkpoint: CheckpointName = "last", data_dir: PathText | None = None, num_threads: Threads | None = None
) -> None:
    """Draw a finished run's figures, and write report.html, figures/ and analysis.json into its folder.

    Args:
        run: The run's folder.
        checkpoint: Weights to evaluate: those of the `last` epoch, which the run itself reports, or the `best` ones.
        data_dir: Directory that contains MNIST/raw; by default the environment variable MNIST_DATA_DIR, else `data`.
        num_threads: Threads on the CPU; by default one for each core.

    Raises:
        SettingError: there is no such run, its report is damaged, or its folder cannot be written.
        CheckpointError: the run has no such checkpoint, or it is damaged.
        DataFilesError: MNIST is missing.
    """
    use_threads(num_threads)
    write_figures(read_run(Path(run), checkpoint, data_dir))


def write_figures(run: FinishedRun) -> None:
    """Evaluates a run's weights on its test images, and writes figures, numbers and page into the run's folder."""
    test = read_test_images(run.data)
    measured_on = f"{len(test.labels):,} test images, {run.data.title}"
    print(f"Evaluating {run.weights_title}, on {measured_on}", flush=True)
    probabilities = predict(run.classifier, run.data, test.images)
    print("Rotating and shifting them", flush=True)
    analysis = analyse(run, test, probabilities, robustness_of(run.classifier, run.data, test))
    moved_on = f"{analysis.robustness.num_images:,} test images, {run.data.title}"
    pictures = [
        learning_curves_picture(run),
        confusion_picture(analysis, measured_on),
        mistakes_picture(test, probabilities, analysis),
        calibration_picture(analysis, measured_on),
        robustness_picture(run, analysis, moved_on),
    ]
    measured = _measured_text(run, measured_on)
    _write(
        run,
        {f"figures/{picture.name}.png": picture.png for picture in pictures}
        | {
            "analysis.json": to_json(analysis).encode(),
            "report.html": report_page(run, analysis, pictures, measured).encode(),
        },
        markdown_section(pictures, measured),
    )
    print(
        f"\n{_summary(run, analysis)}\n\nPage, figures and numbers: {run.folder}/report.html, figures/, analysis.json"
    )


def _measured_text(run: FinishedRun, measured_on: str) -> str:
    views = ""
    if run.classifier.test_time_augmentation:
        views = " The logits of each image and its eight shifts by one pixel are averaged, as in the run's own test."
    return (
        f"Measured on {measured_on}, with the weights of {run.weights_title}, in float32.{views} "
        f"{run.part_of_the_test_images}"
    )


def _summary(run: FinishedRun, analysis: Analysis) -> str:
    robustness = analysis.robustness
    rotated = robustness.rotation_degrees
    shifted = [*robustness.translation_x_pixels, *robustness.translation_y_pixels]
    alone = ", without test-time augmentation" if analysis.test_time_augmentation else ""
    return "\n".join(
        [
            f"{analysis.dataset}, {analysis.num_images:,} test images, {run.weights_title}",
            f"  accuracy           {analysis.accuracy:.2%}: {len(analysis.mistakes)} wrong",
            f"  calibration error  {analysis.calibration.expected_calibration_error:.4f} expected",
            "  rotated            "
            + ", ".join(f"{point.accuracy:.2%} at {point.amount:+d}°" for point in (rotated[0], rotated[-1]))
            + f" ({robustness.num_images:,} images{alone})",
            f"  shifted            {min(point.accuracy for point in shifted):.2%} at worst, "
            f"by up to {shifted[-1].amount} pixels along x or y",
            run.part_of_the_test_images,
        ]
    )


def _write(run: FinishedRun, files: dict[str, bytes], section: str) -> None:
    markdown = run.folder / "report.md"
    try:
        (run.folder / "figures").mkdir(exist_ok=True)
        for name, content in files.items():
            atomic_write(run.folder / name, content)
        before = markdown.read_bytes() if markdown.exists() else report_markdown(run.report).encode()
        atomic_write(markdown, with_figures_section(before, section))
    except OSError as error:
        raise SettingError(
            f"RUN {run.folder}: {error.filename} cannot be written ({error.strerror}). Free disk space, or copy the "
            "run to a folder that can be written."
        ) from None
