"""The chart of the most confident mistakes."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from mnist_lightning.data.datasets import noun_of
from mnist_lightning.figures.style import SHADE, VERMILION, in_our_style, new_figure
from mnist_lightning.runs.predictions import worst_mistakes

NUM_SHOWN = 25
NUM_COLUMNS = 5


@in_our_style
def mistakes_figure(images: Tensor, labels: Tensor, probabilities: Tensor, class_names: Sequence[str]) -> Figure:
    """Up to 25 mistakes, the most confident first, each with its true and its predicted class.

    Args:
        images: (N, 1, 28, 28) uint8; only those that are classified wrongly are shown.
        labels: (N,) int64.
        probabilities: (N, num_classes) float.
        class_names: names of the classes.
    """
    worst = worst_mistakes(labels, probabilities)
    shown = worst[:NUM_SHOWN].tolist()
    num_rows = max(1, -(-len(shown) // NUM_COLUMNS))
    figure = new_figure(0.7 + 1.7 * num_rows)
    figure.suptitle(_title(len(shown), len(worst), len(labels)), x=0.01, ha="left", size=11)
    grid = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(visible=True, color=SHADE)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(images[index, 0].numpy(), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        predicted = int(probabilities[index].argmax())
        size, gap = (11, " ") if noun_of(class_names) == "digit" else (8, "\n")
        title = f"{class_names[int(labels[index])]},{gap}not {class_names[predicted]}"
        axes.set_title(title, loc="center", color=VERMILION, weight="bold", size=size)
        axes.set_xlabel(f"{probabilities[index, predicted]:.1%}, no. {index:,}", size=8)
    return figure


def _title(num_shown: int, num_wrong: int, num_images: int) -> str:
    if num_wrong == 0:
        return f"None of {num_images:,} images is classified wrongly"
    shown = "all" if num_shown == num_wrong else f"the {num_shown} most confident"
    return (
        f"Mistakes: {shown} of {num_wrong:,} wrong among {num_images:,} images\n"
        "(true class, not the predicted one; below: its probability, image number)"
    )
