"""`python -m mnist_lightning report RUN`: the command line of a run's figures."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from mnist_lightning.bounds import PathText, Threads
from mnist_lightning.errors import SettingError
from mnist_lightning.options.commands import command_parser, use_threads
from mnist_lightning.report.evaluation import movement_curves, predict, read_test_images
from mnist_lightning.report.finished_run import CheckpointName, FinishedRun, read_run
from mnist_lightning.report.measurements import Numbers, measured_numbers
from mnist_lightning.report.page import markdown_section, report_page
from mnist_lightning.report.pictures import (
    calibration_picture,
    confusion_picture,
    learning_curves_picture,
    mistakes_picture,
    robustness_picture,
)
from mnist_lightning.runs.files import atomic_write
from mnist_lightning.runs.report import report_markdown
from mnist_lightning.runs.report_section import with_figures_section


def main(args: Sequence[str]) -> None:
    """Runs the command: `main(["runs/optimized/version_0"])`."""
    parser = command_parser(report, positional=("run",))
    parser.add_argument("run", metavar="RUN", type=PathText, help="The run's folder, such as runs/optimized/version_0.")
    report(**parser.parse_args(list(args)).as_dict())


def report(
    run: str, checkpoint: CheckpointName = "last", data_dir: PathText | None = None, num_threads: Threads | None = None
) -> None:
    """Draw a finished run's figures into its folder: report.html, figures/, analysis.json, report.md.

    Args:
        run: The run's folder.
        checkpoint: Whose weights: the `last` epoch's, which is what a run reports, or those that were the `best`.
        data_dir: Directory that holds MNIST/raw; by default the environment variable MNIST_DATA_DIR, else `data`.
        num_threads: Threads on the CPU; by default one for each core.

    Raises:
        SettingError: there is no such run, its report is damaged, or its folder cannot be written.
        CheckpointError: the run has no such checkpoint, or it is damaged.
        DataFilesError: MNIST is not there.
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
    curves = movement_curves(run.classifier, run.data, test)
    numbers = measured_numbers(run, test, probabilities, curves)
    moved_on = f"{curves[0].num_images:,} test images, {run.data.title}"
    pictures = [
        learning_curves_picture(run),
        confusion_picture(torch.tensor(numbers["confusion"]), numbers, measured_on),
        mistakes_picture(test, probabilities, numbers),
        calibration_picture(test, probabilities, numbers, measured_on),
        robustness_picture(run, curves, moved_on),
    ]
    measured = _measured_text(run, measured_on)
    _write(
        run,
        {f"figures/{picture.name}.png": picture.png for picture in pictures}
        | {
            "analysis.json": (json.dumps(numbers, indent=2, ensure_ascii=False) + "\n").encode(),
            "report.html": report_page(run, numbers, pictures, measured).encode(),
        },
        markdown_section(pictures, measured),
    )
    print(f"\n{_summary(run, numbers)}\n\nPage, figures and numbers: {run.folder}/report.html, figures/, analysis.json")


def _measured_text(run: FinishedRun, measured_on: str) -> str:
    views = ""
    if run.classifier.test_time_augmentation:
        views = " Each image is evaluated together with its eight shifts by a pixel, as in the run's own test."
    return (
        f"Measured on {measured_on}, with the weights of {run.weights_title}, in float32.{views} "
        f"{run.part_of_the_test_images}"
    )


def _summary(run: FinishedRun, numbers: Numbers) -> str:
    robustness = numbers["robustness"]
    rotated = robustness["rotation_degrees"]
    shifted = [*robustness["translation_x_pixels"], *robustness["translation_y_pixels"]]
    alone = ", without test-time augmentation" if numbers["test_time_augmentation"] else ""
    return "\n".join(
        [
            f"{numbers['dataset']}, {numbers['num_images']:,} test images, {run.weights_title}",
            f"  accuracy           {numbers['accuracy']:.2%}: {len(numbers['mistakes'])} wrong",
            f"  calibration error  {numbers['calibration']['expected_calibration_error']:.4f} expected",
            "  rotated            "
            + ", ".join(f"{point['accuracy']:.2%} at {point['amount']:+d}°" for point in (rotated[0], rotated[-1]))
            + f" ({robustness['num_images']:,} images{alone})",
            f"  shifted            {min(point['accuracy'] for point in shifted):.2%} at worst, "
            f"by up to {shifted[-1]['amount']} pixels along x or y",
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
            f"RUN {run.folder}: {error.filename} cannot be written ({error.strerror}). Make room, or report a copy of "
            "the run in a folder that can be written."
        ) from None
