"""The rows of a study as Markdown."""

import math
import statistics
from collections.abc import Sequence

from mnist_lightning.files import markdown_table
from mnist_lightning.runs.record_text import optional_text
from mnist_lightning.study.summary import MeasuredRow, Row, differs

HOLM_TEXT = (
    "Differences: mean over the common seeds, with the 95 % confidence interval of a paired t-test. The intervals are "
    "not corrected for multiple comparisons; the p-values of the same tests are, by Holm's method, so an interval can "
    "exclude 0 although p ≥ 0.05. Not significant (p ≥ 0.05) does not mean that there is no difference. Detectable: "
    "the true difference that the test would find in 80 % of such studies, with the spread of these seeds and at the "
    "strictest level of the correction."
)


def percent(value: float | None, form: str = ".2f") -> str:
    """A fraction in percent; a dash for None."""
    return optional_text(None if value is None else value * 100, form)


def mean_and_deviation(mean: float, standard_deviation: float | None) -> str:
    """Mean ± standard deviation in percent."""
    return f"{percent(mean)}{'' if standard_deviation is None else f' ± {percent(standard_deviation)}'} %"


def single_view_text(row: MeasuredRow) -> str:
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


def interval_text(row: MeasuredRow) -> str:
    """The half-width of the mean's interval in percent; a dash for one seed."""
    return "–" if row.half_width_95 is None else f"± {percent(row.half_width_95)}"


def study_table(rows: Sequence[MeasuredRow | Row]) -> str:
    """The rows as a Markdown table; with a column of differences if rows were compared."""
    header = [
        *("variant", "epochs", "mean accuracy, %", "95 % interval", "standard deviation", "min–max", "seeds"),
        *("epochs to first 99.4 %", "seconds", "against the first row"),
    ]
    cells = []
    for row in rows:
        failed = f" ({', '.join(map(str, row.failed_seeds))} failed)" if row.failed_seeds else ""
        seeds = f"{row.num_seeds}{failed}"
        if not isinstance(row, MeasuredRow):
            cells.append([row.variant, *"–––––", seeds, *"–––"])
            continue
        cells.append(
            [
                *(row.variant, range_text(row.epochs), percent(row.mean), interval_text(row)),
                *(percent(row.standard_deviation), f"{percent(row.min)}–{percent(row.max)}", seeds),
                *(first_epochs_text(row.first_accurate_epochs), f"{row.median_seconds:.0f}", difference_text(row)),
            ]
        )
    compares = any(isinstance(row, MeasuredRow) and row.difference is not None for row in rows)
    num_columns = len(header) if compares else len(header) - 1
    return markdown_table(header[:num_columns], [row[:num_columns] for row in cells])


def p_text(row: MeasuredRow) -> str:
    """The corrected p-value."""
    return "< 0.001" if row.p_value is not None and row.p_value < 0.001 else optional_text(row.p_value, ".3f")


def difference_text(row: MeasuredRow) -> str:
    """The difference to the first row with its interval and p-value, and whether it is significant."""
    if row.p_value is None:
        return "–" if row.difference is None else f"{percent(row.difference, '+.2f')}, not tested"
    low, high = row.difference_low_95, row.difference_high_95
    interval = f"{percent(row.difference, '+.2f')} ({percent(low, '+.2f')} to {percent(high, '+.2f')})"
    verdict = "" if differs(row) else f"; not significant, ± {percent(row.detectable_difference)} detectable"
    return f"{interval}; p {'' if p_text(row).startswith('<') else '= '}{p_text(row)}{verdict}"
