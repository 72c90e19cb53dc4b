"""Evaluates a finished run and writes its figures, their numbers and a page."""

from mnist_lightning.errors import UserError
from mnist_lightning.files import atomic_write, to_json
from mnist_lightning.report.analysis import Analysis, analyse
from mnist_lightning.report.evaluation import predict, read_test_images, robustness_of
from mnist_lightning.report.finished_run import FinishedRun
from mnist_lightning.report.page import markdown_section, report_page
from mnist_lightning.report.pictures import (
    calibration_picture,
    confusion_picture,
    learning_curves_picture,
    mistakes_picture,
    robustness_picture,
)
from mnist_lightning.runs.record_text import report_markdown, with_figures_section


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
        raise UserError(
            f"RUN {run.folder}: {error.filename} cannot be written ({error.strerror}). Free disk space, or copy the "
            "run to a folder that can be written."
        ) from None
