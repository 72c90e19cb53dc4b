"""What is mistaken for what: the confusion matrix, and the most confident mistakes."""

from collections.abc import Sequence

import torch
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from mnist_lightning.figures.style import INK, SHADE, VERMILION, in_our_style, new_figure

MAX_SHOWN = 25
NUM_COLUMNS = 5
CELL_WIDTH, CELL_HEIGHT = 1.2, 1.6  # an image has a side of 1


@in_our_style
def confusion_figure(counts: Tensor, class_names: Sequence[str], measured_on: str) -> Figure:
    """The counts as a table, coloured by the mistakes alone, as the diagonal is hundreds of times larger.

    Counts (C, C) int64: rows are true classes, columns predicted classes.
    """
    figure = new_figure(6.2)
    axes = figure.subplots()
    mistakes = counts.clone().fill_diagonal_(0)
    norm = PowerNorm(0.5, vmin=0, vmax=max(1, int(mistakes.max())))  # square root: a single mistake is visible
    axes.imshow(mistakes.numpy(), cmap="Oranges", norm=norm)
    text_size = min(9, 100 / len(class_names))
    for true, predicted in counts.nonzero().tolist():
        count = int(counts[true, predicted])
        is_correct = true == predicted
        if is_correct:
            axes.add_patch(Rectangle((true - 0.5, true - 0.5), 1, 1, facecolor=SHADE))
        colour = "white" if not is_correct and float(norm(count)) > 0.65 else INK
        weight = "normal" if is_correct else "bold"
        axes.text(predicted, true, f"{count:,}", ha="center", va="center", color=colour, weight=weight, size=text_size)
    rows = zip(class_names, counts.diag().tolist(), counts.sum(dim=1).tolist(), strict=True)
    labels = [f"{name}   {correct / total:.1%}" if total else f"{name}   none" for name, correct, total in rows]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks(range(len(labels)), class_names, rotation=90 if max(map(len, class_names)) > 2 else 0)
    axes.set(xlabel="predicted class", ylabel="true class, and its accuracy")
    figure.suptitle(f"Confusion matrix: {measured_on}", x=0.01, ha="left", size=11)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@in_our_style
def mistakes_figure(
    images: Tensor, labels: Tensor, probabilities: Tensor, class_names: Sequence[str], measured_on: str
) -> Figure:
    """Up to 25 mistakes, the most confident first: images (N, 1, 28, 28) uint8, labels (N,), probabilities (N, C)."""
    worst = worst_mistakes(labels, probabilities).tolist()
    shown = worst[:MAX_SHOWN]
    num_rows = max(1, -(-len(shown) // NUM_COLUMNS))
    figure = new_figure(0.7 + 1.7 * num_rows)
    axes = figure.subplots()  # of all images: one for each would take several times as long
    gap, size = ("\n", 8.0) if max(map(len, class_names)) > 2 else (" ", 10.5)
    for place, index in enumerate(shown):
        top, left = place // NUM_COLUMNS * CELL_HEIGHT, place % NUM_COLUMNS * CELL_WIDTH
        extent = (left, left + 1, top + 1, top)
        axes.imshow(images[index, 0].numpy(), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest", extent=extent)
        predicted = int(probabilities[index].argmax())
        title = f"{class_names[int(labels[index])]},{gap}not {class_names[predicted]}"
        axes.text(left + 0.5, top - 0.05, title, ha="center", va="bottom", color=VERMILION, weight="bold", size=size)
        below = f"{probabilities[index, predicted]:.1%}, no. {index:,}"
        axes.text(left + 0.5, top + 1.05, below, ha="center", va="top", size=8)
    axes.set_xlim(-0.05, NUM_COLUMNS * CELL_WIDTH - 0.15)
    axes.set_ylim(num_rows * CELL_HEIGHT - 0.3, -0.35)
    axes.set_axis_off()
    which = f"all {len(worst):,}" if len(shown) == len(worst) else f"the {len(shown)} most confident of {len(worst):,}"
    title = f"{which}; below each, its probability and the image's number" if worst else "none"
    figure.suptitle(f"Mistakes: {measured_on}\n{title}", x=0.01, ha="left", size=11)
    return figure


def worst_mistakes(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Indices (M,) of the misclassified images of labels (N,) and probabilities (N, C), the most confident first."""
    confidences, classes = probabilities.max(dim=1)
    wrong = (classes != labels).nonzero().flatten()
    order: Tensor = torch.argsort(confidences[wrong], descending=True, stable=True)
    return wrong[order]
