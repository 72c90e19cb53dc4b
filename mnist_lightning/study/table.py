"""The table of a study: a row of statistics for each variant, and its text."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats
from scipy.optimize import brentq

from mnist_lightning.files import Count, Seconds, Share, markdown_table
from mnist_lightning.runs.acceptance import first_accurate_epoch
from mnist_lightning.runs.record import Record
from mnist_lightning.runs.record_text import optional_text

HOLM_TEXT = (
    "Differences: mean over the common seeds, with the 95 % confidence interval of a paired t-test. The intervals are "
    "not corrected for multiple comparisons; the p-values of the same tests are, by Holm's method, so an interval can "
    "exclude 0 although p ≥ 0.05. Not significant (p ≥ 0.05) does not mean that there is no difference. Detectable: "
    "the true difference that the test would find in 80 % of such studies, with the spread of these seeds and at the "
    "strictest level of the correction."
)


@dataclass
class Row:
    """A variant of a study with its finished seeds. Accuracies are those after the last epoch.

    Args:
        variant: Name of the variant.
        num_seeds: Number of finished seeds.
        failed_seeds: Seeds without a result: they failed, or have not run yet.
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
        first_accurate_epochs: First epoch of each seed with at least 99.4 % of MNIST's test images, null if none has.
        difference: Mean over the common seeds of the accuracy minus that of the first row; only if rows are compared.
        difference_low_95: Lower end of its uncorrected 95 % interval, by Student's t for pairs; this and the next three
            only if the seeds' differences are not all equal.
        difference_high_95: Its upper end.
        p_value: Of the paired t-test for the difference, with Holm's correction for all rows of the study.
        detectable_difference: The true difference that is found in 80 % of such studies, at Holm's strictest level.
    """

    variant: str
    num_seeds: Count
    failed_seeds: list[Count]
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

    @property
    def differs(self) -> bool:
        """Whether the difference to the first row is significant; False if it was not tested."""
        return self.p_value is not None and self.p_value < 0.05


def measured_on(record: Record) -> str:
    """The images of the last accuracy, and how often they were read."""
    images = f"{record.part_text('val')}{record.validated_on}"
    if record.test is not None:
        images = f"{record.part_text('test')}test images, read once"
    elif record.validation == "test":
        images += ", read after each epoch"
    return images if record.dataset == "MNIST" else f"{record.dataset}, {images}"


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % confidence interval of the mean, by Student's t; None for one value."""
    if len(set(values)) < 2:  # scipy warns of equal values
        return None if len(values) < 2 else 0.0
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
    """The smallest true mean that a t-test at the level 5 % / num_tests finds in 80 % of samples of this spread."""
    freedom = len(differences) - 1
    critical = stats.t.ppf(1 - 0.05 / num_tests / 2, freedom)
    # With a true mean of `shift` standard errors, t has a noncentral distribution.
    shift = brentq(lambda shift: stats.nct.sf(critical, freedom, shift) - 0.8, 0, 100 * critical)
    return float(shift * stats.sem(differences))


def summarise(variant: str, by_seed: Mapping[int, Record], num_seeds: int) -> Row:
    """The row of a variant with at least one finished seed; each record has an accuracy."""
    records = list(by_seed.values())
    # To six decimals: the float32 of 9,940 / 10,000 is 0.99400002.
    accuracies = [round(record.last_accuracy, 6) for record in records if record.last_accuracy is not None]
    row = Row(
        variant=variant,
        num_seeds=len(records),
        failed_seeds=[seed for seed in range(num_seeds) if seed not in by_seed],
        measured_on=measured_on(records[0]),
        num_parameters=records[0].num_parameters,
        precisions=sorted({record.precision for record in records}),
        seeds=list(by_seed),
        epochs=[record.epochs_trained for record in records],
        accuracies=accuracies,
        mean=statistics.mean(accuracies),
        standard_deviation=statistics.stdev(accuracies) if len(records) > 1 else None,
        min=min(accuracies),
        max=max(accuracies),
        half_width_95=half_width(accuracies),
        median_seconds=statistics.median(record.wall_clock_seconds for record in records),
    )
    tests = [record.test for record in records if record.test is not None]
    single_view = [test.single_view_accuracy for test in tests if test.single_view_accuracy is not None]
    if len(single_view) == len(records):
        row.single_view_mean = statistics.mean(single_view)
        row.single_view_standard_deviation = statistics.stdev(single_view) if len(records) > 1 else None
    if all(record.validation == "test" and record.dataset == "MNIST" for record in records):
        row.first_accurate_epochs = [first_accurate_epoch(row.val_accuracy for row in each.epochs) for each in records]
    return row


def add_differences(rows: Sequence[Row]) -> None:
    """Compares each row with the first, seed by seed: a seed decides the initial weights and the order of images."""
    reference, *others = rows
    accuracy_of = dict(zip(reference.seeds, reference.accuracies, strict=True))
    compared: list[tuple[Row, list[float]]] = []
    for row in others:
        pairs = zip(row.seeds, row.accuracies, strict=True)
        # Rounded, because equal differences of accuracies differ in the last bit.
        differences = [round(accuracy - accuracy_of[seed], 6) for seed, accuracy in pairs if seed in accuracy_of]
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


def percent(value: float | None, form: str = ".2f") -> str:
    """A fraction in percent; a dash for None."""
    return optional_text(None if value is None else value * 100, form)


def mean_and_deviation(mean: float, standard_deviation: float | None) -> str:
    """Mean ± standard deviation in percent."""
    return f"{percent(mean)}{'' if standard_deviation is None else f' ± {percent(standard_deviation)}'} %"


def single_view_text(row: Row) -> str:
    """The row's accuracy without test-time augmentation; nothing if there was none."""
    if row.single_view_mean is None:
        return ""
    figure = mean_and_deviation(row.single_view_mean, row.single_view_standard_deviation)
    return f"; {figure} without test-time augmentation"


def first_epochs_text(first_epochs: Sequence[int | None] | None) -> str:
    """Median and range of the first epochs with 99.4 %; a seed that never reaches it counts as the latest."""
    if first_epochs is None:
        return "–"
    epochs = [epoch or math.inf for epoch in first_epochs]
    ends = (statistics.median(epochs), min(epochs), max(epochs))
    median, low, high = ("never" if math.isinf(epoch) else f"{epoch:g}" for epoch in ends)
    return median if low == high else f"{median} ({low}–{high})"


def range_text(values: Sequence[float]) -> str:
    """One number if all agree, else the range."""
    return f"{min(values):g}" if min(values) == max(values) else f"{min(values):g}–{max(values):g}"


def interval_text(row: Row) -> str:
    """The half-width of the mean's interval in percent; a dash for one seed."""
    return "–" if row.half_width_95 is None else f"± {percent(row.half_width_95)}"


def p_text(row: Row) -> str:
    """The corrected p-value."""
    return "< 0.001" if row.p_value is not None and row.p_value < 0.001 else optional_text(row.p_value, ".3f")


def difference_text(row: Row) -> str:
    """The difference to the first row with its interval and p-value, and whether it is significant."""
    if row.p_value is None:
        return "–" if row.difference is None else f"{percent(row.difference, '+.2f')}, not tested"
    low, high = row.difference_low_95, row.difference_high_95
    interval = f"{percent(row.difference, '+.2f')} ({percent(low, '+.2f')} to {percent(high, '+.2f')})"
    verdict = "" if row.differs else f"; not significant, ± {percent(row.detectable_difference)} detectable"
    return f"{interval}; p {'' if p_text(row).startswith('<') else '= '}{p_text(row)}{verdict}"


def study_table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table; with a column of differences if rows were compared."""
    columns = {
        "variant": [row.variant for row in rows],
        "epochs": [range_text(row.epochs) for row in rows],
        "mean accuracy, %": [percent(row.mean) for row in rows],
        "95 % interval": [interval_text(row) for row in rows],
        "standard deviation": [percent(row.standard_deviation) for row in rows],
        "min–max": [f"{percent(row.min)}–{percent(row.max)}" for row in rows],
        "seeds": [f"{row.num_seeds}{f' ({len(row.failed_seeds)} left)' if row.failed_seeds else ''}" for row in rows],
        "epochs to first 99.4 %": [first_epochs_text(row.first_accurate_epochs) for row in rows],
        "seconds": [f"{row.median_seconds:.0f}" for row in rows],
    }
    if any(row.difference is not None for row in rows):
        columns["against the first row"] = [difference_text(row) for row in rows]
    return markdown_table(list(columns), zip(*columns.values(), strict=True))
