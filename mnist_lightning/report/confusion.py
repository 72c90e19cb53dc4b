"""The confusion matrix and its chart."""

from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from mnist_lightning.network import NUM_CLASSES
from mnist_lightning.runs.drawing import INK, SHADE, in_our_style, new_figure


def confusion_counts(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Counts (10, 10) int64 from labels (N,) and probabilities (N, 10): rows are true digits, columns predicted."""
    counts: Tensor = multiclass_confusion_matrix(probabilities, labels, NUM_CLASSES)
    return counts


@in_our_style
def confusion_figure(counts: Tensor, measured_on: str) -> Figure:
    """Counts (10, 10) as a table, coloured by the mistakes alone, as the diagonal is hundreds of times larger."""
    figure = new_figure(6.2)
    axes = figure.subplots()
    mistakes = counts.clone().fill_diagonal_(0)
    norm = PowerNorm(0.5, vmin=0, vmax=max(1, int(mistakes.max())))  # square root: a single mistake is visible
    axes.imshow(mistakes.numpy(), cmap="Oranges", norm=norm)
    for digit in range(NUM_CLASSES):
        axes.add_patch(_cell(digit))
    for true, row in enumerate(counts.tolist()):
        for predicted, count in enumerate(row):
            if count:
                is_dark = true != predicted and float(norm(count)) > 0.65
                weight = "normal" if true == predicted else "bold"
                colour = "white" if is_dark else INK
                axes.text(predicted, true, f"{count:,}", ha="center", va="center", color=colour, weight=weight, size=9)
    axes.set(
        xlabel="predicted digit",
        ylabel="true digit, and its accuracy",
        xticks=range(NUM_CLASSES),
    )
    figure.suptitle(f"Confusion matrix: {measured_on}", x=0.01, ha="left", size=11)
    axes.set_yticks(range(NUM_CLASSES), [_row_label(digit, row) for digit, row in enumerate(counts.tolist())])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cell(digit: int) -> Rectangle:
    return Rectangle((digit - 0.5, digit - 0.5), 1, 1, facecolor=SHADE)


def _row_label(digit: int, row: list[int]) -> str:
    return f"{digit}   {row[digit] / sum(row):.1%}" if sum(row) else f"{digit}   none"
