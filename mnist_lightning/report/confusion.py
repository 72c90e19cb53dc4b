"""The confusion matrix and its chart."""

from collections.abc import Sequence

from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.figures.style import INK, SHADE, in_our_style, new_figure


def confusion_counts(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Counts (C, C) int64 from labels (N,) and probabilities (N, C): rows are true classes, columns predicted."""
    counts: Tensor = multiclass_confusion_matrix(probabilities, labels, probabilities.shape[1])
    return counts


@in_our_style
def confusion_figure(counts: Tensor, class_names: Sequence[str], measured_on: str) -> Figure:
    """Counts (C, C) as a table, coloured by the mistakes alone, as the diagonal is hundreds of times larger."""
    noun = noun_of(class_names)
    figure = new_figure(6.2)
    axes = figure.subplots()
    mistakes = counts.clone().fill_diagonal_(0)
    norm = PowerNorm(0.5, vmin=0, vmax=max(1, int(mistakes.max())))  # square root: a single mistake is visible
    axes.imshow(mistakes.numpy(), cmap="Oranges", norm=norm)
    for label in range(len(class_names)):
        axes.add_patch(_cell(label))
    for true, row in enumerate(counts.tolist()):
        for predicted, count in enumerate(row):
            if count:
                is_dark = true != predicted and float(norm(count)) > 0.65
                weight = "normal" if true == predicted else "bold"
                colour = "white" if is_dark else INK
                axes.text(predicted, true, f"{count:,}", ha="center", va="center", color=colour, weight=weight, size=9)
    axes.set(
        xlabel=f"predicted {noun}",
        ylabel=f"true {noun}, and its accuracy",
    )
    axes.set_xticks(range(len(class_names)), class_names, rotation=0 if noun == "digit" else 90)
    figure.suptitle(f"Confusion matrix: {measured_on}", x=0.01, ha="left", size=11)
    labels = [
        _row_label(name, row[label], sum(row))
        for label, (name, row) in enumerate(zip(class_names, counts.tolist(), strict=True))
    ]
    axes.set_yticks(range(len(class_names)), labels)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cell(label: int) -> Rectangle:
    return Rectangle((label - 0.5, label - 0.5), 1, 1, facecolor=SHADE)


def _row_label(name: str, num_correct: int, num_images: int) -> str:
    return f"{name}   {num_correct / num_images:.1%}" if num_images else f"{name}   none"
