"""What the seeds of a study say together: one row a variant, as numbers, as Markdown and as a chart."""

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from mnist_lightning.runs.acceptance import first_accurate_epoch
from mnist_lightning.runs.files import atomic_savefig
from mnist_lightning.runs.outputs import no_formula
from mnist_lightning.runs.report import part_text

Report = dict[str, Any]
Row = dict[str, Any]


def last_accuracy(report: Report) -> float | None:
    """Accuracy in [0, 1] after the last epoch: that of the one test where there was one, else of the validation.

    None if nothing was evaluated.
    """
    accuracy: float | None
    if "test" in report:
        accuracy = report["test"].get("accuracy")
    else:
        accuracy = report["epochs"][-1].get("val_accuracy") if report["epochs"] else None
    return None if accuracy is None else round(accuracy, 6)  # the float32 of 9,940 / 10,000 is 0.99400002


def measured_on(report: Report) -> str:
    """What `last_accuracy` was measured on, and how often that was looked at."""
    is_tested = "test" in report
    part = part_text(report, "test" if is_tested else "val")
    dataset = "" if report["dataset"] == "MNIST" else f"{report['dataset']}, "
    if is_tested:
        return f"{dataset}{part}test images, read once"
    if report["validation"] == "test":
        return f"{dataset}{part}test images, read after each epoch"
    return f"{dataset}{part}{report['validated_on']}"


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % confidence interval of the mean, by Student's t; None for one value."""
    if len(values) < 2:
        return None
    quantile = stats.t.ppf(0.975, len(values) - 1)
    return float(quantile * statistics.stdev(values) / len(values) ** 0.5)


def difference(values: Sequence[float], reference: Sequence[float]) -> tuple[float, float, float] | None:
    """Difference of two means with its 95 % confidence interval, by Welch's t-test; None where nothing spreads."""
    if min(len(values), len(reference)) < 2:
        return None
    groups = (values, reference)
    errors = [statistics.variance(group) / len(group) for group in groups]  # of the means, squared
    if sum(errors) == 0:
        return None
    degrees = sum(errors) ** 2 / sum(error**2 / (len(group) - 1) for error, group in zip(errors, groups, strict=True))
    half = float(stats.t.ppf(0.975, degrees)) * sum(errors) ** 0.5
    mean = statistics.mean(values) - statistics.mean(reference)
    return mean, mean - half, mean + half


def summarise(variant: str, reports: Sequence[Report], failed_seeds: Sequence[int]) -> Row:
    """The row of a variant.

    Args:
        variant: its name.
        reports: the reports of the seeds that ended well; each has an accuracy.
        failed_seeds: the others.
    """
    row: Row = {"variant": variant, "num_seeds": len(reports), "failed_seeds": list(failed_seeds)}
    if not reports:
        return row
    accuracies = [accuracy for report in reports if (accuracy := last_accuracy(report)) is not None]
    row |= {
        "measured_on": measured_on(reports[0]),
        "num_parameters": reports[0]["num_parameters"],
        "precisions": sorted({report["precision"] for report in reports}),
        "epochs": [len(report["epochs"]) for report in reports],
        "accuracies": accuracies,
        "mean": statistics.mean(accuracies),
        "standard_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "min": min(accuracies),
        "max": max(accuracies),
        "half_width_95": half_width(accuracies),
        "median_seconds": statistics.median(report["wall_clock_seconds"] for report in reports),
    }
    single_view = [report["test"]["single_view_accuracy"] for report in reports if _has_single_view(report)]
    if len(single_view) == len(reports):
        row["single_view_mean"] = statistics.mean(single_view)
        row["single_view_standard_deviation"] = statistics.stdev(single_view) if len(single_view) > 1 else None
    if all(report["validation"] == "test" and report["dataset"] == "MNIST" for report in reports):
        row["first_accurate_epochs"] = [first_accurate_epoch(report["epochs"]) for report in reports]
    return row


def _has_single_view(report: Report) -> bool:
    return "single_view_accuracy" in report.get("test", {})


def add_differences(rows: Sequence[Row]) -> None:
    """Compares each row with the first."""
    reference = rows[0].get("accuracies", [])
    for row in rows[1:]:
        compared = difference(row.get("accuracies", []), reference)
        if compared is not None:
            row["difference"], row["difference_low_95"], row["difference_high_95"] = compared


def percent(value: float | None, form: str = ".2f") -> str:
    """A fraction in percent; a dash for None."""
    return "–" if value is None else f"{value * 100:{form}}"


def mean_and_deviation(mean: float, standard_deviation: float | None) -> str:
    """Mean ± standard deviation in percent."""
    return f"{percent(mean)}{'' if standard_deviation is None else f' ± {percent(standard_deviation)}'} %"


def single_view_text(row: Row) -> str:
    """What the row's accuracy is without test-time augmentation; nothing where there was none."""
    if "single_view_mean" not in row:
        return ""
    figure = mean_and_deviation(row["single_view_mean"], row["single_view_standard_deviation"])
    return f"; {figure} without test-time augmentation"


def first_epochs_text(row: Row) -> str:
    """The epochs in which seeds were first as accurate as asked, or how many never were."""
    if "first_accurate_epochs" not in row:
        return "–"
    epochs = row["first_accurate_epochs"]
    reached = sorted(epoch for epoch in epochs if epoch is not None)
    if not reached:
        return "never"
    text = f"{statistics.median(reached):g} ({reached[0]}–{reached[-1]})" if len(reached) > 1 else str(reached[0])
    return text if len(reached) == len(epochs) else f"{text}, {len(reached)} of {len(epochs)} seeds"


def range_text(values: Sequence[int]) -> str:
    """One number where all agree, else the range."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)}–{max(values)}"


def markdown_table(rows: Sequence[Row]) -> str:
    """The table; the column of differences is there where rows were compared."""
    compares = any("difference" in row for row in rows)
    lines = [
        "| variant | epochs | mean accuracy, % | 95 % interval | standard deviation | min–max | seeds "
        "| epochs to first 99.4 % | seconds |" + (" against the first row |" if compares else ""),
        "|---|---|---|---|---|---|---|---|---|" + ("---|" if compares else ""),
    ]
    for row in rows:
        seeds = str(row["num_seeds"])
        if row["failed_seeds"]:
            seeds += f" ({', '.join(map(str, row['failed_seeds']))} failed)"
        if not row["num_seeds"]:
            lines.append(f"| {row['variant']} | – | – | – | – | – | {seeds} | – | – |" + (" – |" if compares else ""))
            continue
        half = row["half_width_95"]
        line = (
            f"| {row['variant']} | {range_text(row['epochs'])} | {percent(row['mean'])} "
            f"| {'–' if half is None else f'± {percent(half)}'} | {percent(row['standard_deviation'])} "
            f"| {percent(row['min'])}–{percent(row['max'])} | {seeds} | {first_epochs_text(row)} "
            f"| {row['median_seconds']:.0f} |"
        )
        lines.append(line + (f" {difference_text(row)} |" if compares else ""))
    return "\n".join(lines)


def difference_text(row: Row) -> str:
    """The difference to the first row, and whether it is outside the noise."""
    if "difference" not in row:
        return "–"
    low, high = row["difference_low_95"], row["difference_high_95"]
    verdict = "" if low > 0 or high < 0 else "; within the noise"
    return f"{percent(row['difference'], '+.2f')} ({percent(low, '+.2f')} to {percent(high, '+.2f')}){verdict}"


def csv_text(rows: Sequence[Row]) -> str:
    """The rows as CSV, lists separated by spaces, fractions as they are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = [row.get(name) for name in names]
        writer.writerow(
            [" ".join(map(str, value)) if isinstance(value, list) else no_formula(value) for value in values]
        )
    return file.getvalue()


def draw(rows: Sequence[Row], path: Path) -> None:
    """Means with their 95 % intervals, and each seed as a dot."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["num_seeds"]][::-1]
    figure = Figure(figsize=(8, 0.45 * len(shown) + 1.2), layout="constrained")
    axes = figure.subplots()
    for position, row in enumerate(shown):
        accuracies = [accuracy * 100 for accuracy in row["accuracies"]]
        axes.scatter(accuracies, [position] * len(accuracies), s=12, color="tab:gray", zorder=3)
        half = (row["half_width_95"] or 0) * 100
        axes.errorbar(row["mean"] * 100, position, xerr=half, fmt="o", color="tab:blue", capsize=4)
    axes.set_yticks(range(len(shown)), [row["variant"].replace("`", "") for row in shown])
    axes.set_xlabel("accuracy at the last epoch, %: mean with its 95 % interval, and each seed")
    axes.grid(axis="x", alpha=0.3)
    atomic_savefig(path, figure)
