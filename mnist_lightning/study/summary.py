"""What the seeds of a study say together: one row per variant."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats
from scipy.optimize import brentq

from mnist_lightning.files import Count, Seconds, Share
from mnist_lightning.runs.acceptance import first_accurate_epoch
from mnist_lightning.runs.record import Record


@dataclass
class Row:
    """A variant of a study; one without finished seeds has only these fields.

    Args:
        variant: Name of the variant.
        num_seeds: Number of finished seeds.
        failed_seeds: Seeds that failed.
    """

    variant: str
    num_seeds: Count
    failed_seeds: list[Count]


@dataclass
class MeasuredRow(Row):
    """A variant with its finished seeds. Accuracies are those after the last epoch.

    Args:
        variant: Name of the variant.
        num_seeds: Number of finished seeds.
        failed_seeds: Seeds that failed.
        measured_on: The images of the accuracies, and how often they were read.
        num_parameters: Number of trainable parameters.
        precisions: The seeds' precisions, each once.
        seeds: The finished seeds.
        epochs: Number of epochs of each seed, with a part of the last one as a fraction.
        accuracies: Accuracy of each seed.
        mean: Mean accuracy.
        standard_deviation: Sample standard deviation of the accuracies; null for one seed.
        min: Lowest accuracy.
        max: Highest accuracy.
        half_width_95: Half of the 95 % confidence interval of the mean, by Student's t; null for one seed.
        median_seconds: Median of the seeds' wall-clock seconds of training.
        single_view_mean: Mean accuracy without test-time augmentation; only if all seeds use it.
        single_view_standard_deviation: Its sample standard deviation.
        first_accurate_epochs: First epoch of each seed with at least 99.4 %, null if there is none; only for MNIST's
            test images, read after each epoch.
        difference: Mean over the common seeds of the accuracy minus that of the first row; only where rows are
            compared.
        difference_low_95: Lower end of the difference's 95 % confidence interval, by Student's t for pairs, without a
            correction; this field and the next three are missing if the differences of all seeds are equal.
        difference_high_95: Its upper end.
        p_value: Of the paired t-test for the difference, with Holm's correction for all rows of the study.
        detectable_difference: The true difference that the test would find in 80 % of such studies, with the spread of
            these seeds and at the strictest level of Holm's correction.
    """

    measured_on: str
    num_parameters: Count
    precisions: list[str]
    seeds: list[Count]
    epochs: list[float]
    accuracies: list[Share]
    mean: Share
    standard_deviation: float | None
    min: Share
    max: Share
    half_width_95: float | None
    median_seconds: Seconds
    single_view_mean: Share | None = None
    single_view_standard_deviation: float | None = None
    first_accurate_epochs: list[int | None] | None = None
    difference: float | None = None
    difference_low_95: float | None = None
    difference_high_95: float | None = None
    p_value: Share | None = None
    detectable_difference: float | None = None


@dataclass(frozen=True)
class StudyTable:
    """The table of a study.

    Args:
        title: Heading of the table.
        rows: One entry for each variant; with only the first three fields if no seed has finished.
    """

    title: str
    rows: list[MeasuredRow | Row]


def last_accuracy(report: Record) -> float | None:
    """Accuracy in [0, 1] after the last epoch, rounded to images; None if nothing was evaluated."""
    accuracy = report.last_accuracy
    return None if accuracy is None else round(accuracy, 6)  # the float32 of 9,940 / 10,000 is 0.99400002


def measured_on(report: Record) -> str:
    """The images of `last_accuracy`, and how often they were read."""
    dataset = "" if report.dataset == "MNIST" else f"{report.dataset}, "
    part = report.part_text(report.last_stage)
    if report.test is not None:
        return f"{dataset}{part}test images, read once"
    if report.validation == "test":
        return f"{dataset}{part}test images, read after each epoch"
    return f"{dataset}{part}{report.validated_on}"


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % confidence interval of the mean, by Student's t; None for one value."""
    if len(values) < 2:
        return None
    if len(set(values)) == 1:
        return 0.0  # scipy warns of equal values
    interval = stats.ttest_1samp(values, 0).confidence_interval()
    return float(interval.high - interval.low) / 2


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: S. Holm, 1979, https://www.jstor.org/stable/4615733."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def detectable_difference(differences: Sequence[float], num_tests: int) -> float:
    """The smallest true mean that a t-test finds in 80 % of samples with this size and spread.

    Args:
        differences: one per seed.
        num_tests: tests that share the significance level of 5 %: the smallest p-value must be below 5 % / num_tests.
    """
    freedom = len(differences) - 1
    critical = stats.t.ppf(1 - 0.05 / num_tests / 2, freedom)
    # With a true mean of `shift` standard errors, t has a noncentral distribution.
    shift = brentq(lambda shift: stats.nct.sf(critical, freedom, shift) - 0.8, 0, 100 * critical)
    return float(shift * stats.sem(differences))


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation; None for one value."""
    return statistics.stdev(values) if len(values) > 1 else None


def summarise(variant: str, by_seed: Mapping[int, Record], failed_seeds: Sequence[int]) -> MeasuredRow | Row:
    """The row of a variant.

    Args:
        variant: its name.
        by_seed: the reports of the finished seeds; each has an accuracy.
        failed_seeds: the others.
    """
    if not by_seed:
        return Row(variant, 0, list(failed_seeds))
    reports = list(by_seed.values())
    accuracies = [accuracy for report in reports if (accuracy := last_accuracy(report)) is not None]
    row = MeasuredRow(
        variant=variant,
        num_seeds=len(reports),
        failed_seeds=list(failed_seeds),
        measured_on=measured_on(reports[0]),
        num_parameters=reports[0].num_parameters,
        precisions=sorted({report.precision for report in reports}),
        seeds=list(by_seed),
        epochs=[report.epochs_trained for report in reports],
        accuracies=accuracies,
        mean=statistics.mean(accuracies),
        standard_deviation=deviation(accuracies),
        min=min(accuracies),
        max=max(accuracies),
        half_width_95=half_width(accuracies),
        median_seconds=statistics.median(report.wall_clock_seconds for report in reports),
    )
    tests = [report.test for report in reports if report.test is not None]
    single_view = [test.single_view_accuracy for test in tests if test.single_view_accuracy is not None]
    if len(single_view) == len(reports):
        row.single_view_mean = statistics.mean(single_view)
        row.single_view_standard_deviation = deviation(single_view)
    if all(report.validation == "test" and report.dataset == "MNIST" for report in reports):
        row.first_accurate_epochs = [
            first_accurate_epoch(epoch.val_accuracy for epoch in report.epochs) for report in reports
        ]
    return row


def add_differences(rows: Sequence[MeasuredRow | Row]) -> None:
    """Compares each row with the first, seed by seed: a seed decides the initial weights and the order of images."""
    reference, *others = rows
    compared: list[tuple[MeasuredRow, list[float]]] = []
    for row in others:
        if isinstance(row, MeasuredRow) and isinstance(reference, MeasuredRow):
            references = dict(zip(reference.seeds, reference.accuracies, strict=True))
            pairs = zip(row.seeds, row.accuracies, strict=True)
            # Rounded, because equal differences of accuracies differ in the last bit.
            differences = [round(accuracy - references[seed], 6) for seed, accuracy in pairs if seed in references]
            row.difference = statistics.mean(differences) if differences else None
            if len(set(differences)) > 1:  # else there is no spread to test against
                compared.append((row, differences))
    results = [stats.ttest_1samp(differences, 0) for _, differences in compared]
    p_values = holm([float(result.pvalue) for result in results])
    for (row, differences), result, p_value in zip(compared, results, p_values, strict=True):
        interval = result.confidence_interval()
        row.difference_low_95, row.difference_high_95 = float(interval.low), float(interval.high)
        row.p_value = p_value
        row.detectable_difference = detectable_difference(differences, len(compared))


def differs(row: MeasuredRow) -> bool:
    """Whether the row's difference to the first one is significant; False if it was not tested."""
    return row.p_value is not None and row.p_value < 0.05
