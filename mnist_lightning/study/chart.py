"""The chart of a study: the mean of each variant with its interval, and each seed."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from mnist_lightning.figures.style import BLUE, INK, SHADE, VERMILION, in_our_style, new_figure
from mnist_lightning.study.table import Row, percent, range_text

FAR = 5  # a variant is off the axis if its distance to the best three is more than this many times their range


def off_axis(rows: Sequence[Row]) -> list[Row]:
    """The rows that are too far below the best three to share an axis with them."""
    best = sorted(rows, key=lambda row: row.max)[-3:]
    low, high = min(row.min for row in best), max(row.max for row in best)
    return [row for row in rows if low - row.max > FAR * (high - low)]


@in_our_style
def study_figure(rows: Sequence[Row]) -> Figure:
    """Means with their 95 % intervals, cut at 0 and 100 %, and each seed as a dot; the first row is on top."""
    off = off_axis(rows)
    figure = new_figure(0.36 * len(rows) + 1.3)
    axes = figure.subplots()
    axes.set_yticks(range(len(rows)), [row.variant.replace("`", "") for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    ends = []
    for place, row in enumerate(rows):
        colour = VERMILION if row.differs else BLUE
        if row in off:
            text = f"◀ {percent(row.mean)} % ({percent(row.min)}–{percent(row.max)}), off the axis"
            axes.annotate(text, (0, place), xycoords=("axes fraction", "data"), va="center", color=colour)
            continue
        half = row.half_width_95 or 0
        low, mean, high = (100 * end for end in (max(0, row.mean - half), row.mean, min(1, row.mean + half)))
        seeds = [100 * accuracy for accuracy in row.accuracies]
        axes.plot(seeds, [place] * len(seeds), "o", color=INK, alpha=0.35, markersize=4)
        lengths = [[mean - low], [high - mean]]
        axes.errorbar(mean, place, xerr=lengths, fmt="D", markersize=5, color=colour, capsize=3, zorder=3)
        ends += [low, high, *seeds]
    margin = 0.05 * (max(ends) - min(ends)) or 0.1
    axes.set_xlim(min(ends) - margin, min(100, max(ends) + margin))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("accuracy after the last epoch, %")
    num_seeds = range_text([row.num_seeds for row in rows])
    caption = f"diamond: mean of n = {num_seeds} seeds with its 95 % interval (Student's t); dots: the seeds"
    if any(row.difference is not None for row in rows):
        axes.axvline(100 * rows[0].mean, color=SHADE, linewidth=2, zorder=0)
        caption += "\norange: differs from the first row, whose mean is the grey line "
        caption += "(paired t-test, p < 0.05 after Holm's correction)"
    figure.supxlabel("one seed for each variant" if num_seeds == "1" else caption, size=8)
    return figure
